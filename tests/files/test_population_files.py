"""Files of populations: the same bits after loading, and an error for every forged file."""

import json
import os
import warnings

import numpy as np
import pytest
import safetensors.numpy
from damage import replaced_stretches
from hypothesis import settings

import fastbp
from fastbp import Dense, ModelFileError, Network, Population
from fastbp._cli.main import main
from fastbp.io import load, read_safetensors, save, write_safetensors

pytestmark = pytest.mark.once


def small_population():
    """Members of several versions of the format of one network, and of both dtypes."""
    layered = [Dense(4, "tanh", norm="layer", dropout=0.1), Dense(1, bias=False)]
    nets = [
        Network((3, 5, 1), activation="elu(0.7)", seed=7, l2=1 / 3),
        Network((3, 2, 4, 1), dtype="float64", seed=8),
        Network.from_layers(3, layered, seed=9, input_dropout=0.2),
        Network((3, 4, 1), activation="prelu(0.1, per=unit)", seed=10),
        Network((3, 1), seed=11),
    ]
    nets[2].layers[0].trainable = False
    nets[4].feature_names = ["a", "b", "c"]
    nets[0].preprocessing = {"mean": [0.1, 1e-300], "classes": ["ä", 'with "quotes"']}
    return Population(nets)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("populations") / "population"
    small_population().save(path)
    return path, path.read_bytes()


def forge(path, change):
    """Save a population whose tensors, metadata and members `change` has changed."""
    small_population().save(path)
    tensors, metadata = read_safetensors(path)
    text = metadata["members"]
    members = json.loads(text)
    change(tensors, metadata, members)
    if metadata.get("members") == text:
        metadata["members"] = json.dumps(members)
    write_safetensors(path, tensors, metadata)


# ---- round trips --------------------------------------------------------------------------


def test_a_saved_population_has_the_same_bits(tmp_path):
    population = small_population()
    population.save(tmp_path / "population.safetensors")
    loaded = fastbp.load(tmp_path / "population.safetensors")
    assert type(loaded) is Population
    assert repr(loaded) == repr(population)
    for net, twin in zip(population, loaded, strict=True):
        assert repr(twin) == repr(net)
        assert twin.theta.tobytes() == net.theta.tobytes()
        assert (twin.seed, twin.l2, twin.dense) == (net.seed, net.l2, net.dense)
        assert twin.preprocessing == net.preprocessing
        assert twin.feature_names == net.feature_names
        assert [each.trainable for each in twin.layers] == [each.trainable for each in net.layers]
    X = np.linspace(-1, 1, 12).reshape(4, 3)
    assert loaded.predict(X).tobytes() == population.predict(X).tobytes()


def test_the_function_writes_what_the_method_writes(tmp_path, saved):
    save(small_population(), tmp_path / "population")
    assert (tmp_path / "population").read_bytes() == saved[1]


def test_the_function_gives_every_member_its_preprocessing(tmp_path):
    population = small_population()
    save(population, tmp_path / "population", preprocessing={"mean": [1.5]})
    assert [net.preprocessing for net in load(tmp_path / "population")] == [{"mean": [1.5]}] * 5
    assert population[1].preprocessing is None


def test_the_function_refuses_a_list_of_networks(tmp_path):
    with pytest.raises(TypeError, match=r"got list: give a list of networks as fastbp.Population"):
        save(list(small_population()), tmp_path / "population")
    assert not list(tmp_path.iterdir())


def test_a_loaded_population_is_saved_to_the_same_bytes(tmp_path, saved):
    path, content = saved
    path.write_bytes(content)
    load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content


def test_a_loaded_population_can_be_trained(saved):
    path, content = saved
    path.write_bytes(content)
    histories = load(path)[:4].fit(np.eye(3), [0, 1, 0], epochs=2)
    assert [history.epochs for history in histories] == [2] * 4


def test_a_file_has_what_the_file_of_each_member_would_have(tmp_path):
    population = small_population()
    population.save(tmp_path / "all")
    tensors, metadata = read_safetensors(tmp_path / "all")
    assert (metadata["format"], metadata["version"]) == ("fastbp-population", "1")
    found = json.loads(metadata["members"])
    n_tensors = 0
    for k, net in enumerate(population):
        net.save(tmp_path / "one")
        own, alone = read_safetensors(tmp_path / "one")
        assert found[k]["version"] == alone["version"]
        assert found[k]["architecture"] == json.loads(alone["architecture"])
        assert ("preprocessing" in found[k]) == ("preprocessing" in alone)
        for name, tensor in own.items():
            np.testing.assert_array_equal(tensors[f"members.{k}.{name}"], tensor, strict=True)
        n_tensors += len(own)
    assert len(tensors) == n_tensors


def test_the_safetensors_package_reads_and_writes_such_files(tmp_path):
    population = small_population()
    population.save(tmp_path / "ours")
    theirs = safetensors.numpy.load_file(tmp_path / "ours")
    np.testing.assert_array_equal(theirs["members.1.layers.0.W"], population[1].layers[0].W)
    _, metadata = read_safetensors(tmp_path / "ours")
    safetensors.numpy.save_file(theirs, tmp_path / "theirs", metadata=metadata)
    for net, twin in zip(population, load(tmp_path / "theirs"), strict=True):
        assert twin.theta.tobytes() == net.theta.tobytes()


def test_models_of_tables_stay_models_of_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "size,colour,y\n" + "".join(f"{i},{('red', 'blue')[i % 2]},{i}\n" for i in range(20))
    (tmp_path / "table.csv").write_text(rows)
    command = ["train", "table.csv", "--epochs", "1", "--hidden", "2", "--hold-out", "0", "-q"]
    assert main([*command, "-o", "model"]) == 0
    one, two = load("model"), load("model")
    Population([one, two]).save("both")
    for net in load("both"):
        assert type(net) is type(one)
        row = {"size": 3.0, "colour": "red"}
        assert net.predict([row]).tobytes() == one.predict([row]).tobytes()


# ---- what cannot be written ---------------------------------------------------------------


def test_a_member_that_no_file_can_hold_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / "population"
    small_population().save(path)
    before = path.read_bytes()
    for change, error, message in (
        (lambda net: net.theta.fill(np.nan), ValueError, "layers.0.W holds nan"),
        (lambda net: setattr(net, "preprocessing", [1]), TypeError, "preprocessing must be a dict"),
        (lambda net: setattr(net, "preprocessing", {"a": np.inf}), ValueError, "JSON compliant"),
    ):
        population = small_population()
        change(population[3])
        with pytest.raises(error, match=message) as caught:
            population.save(path)
        assert caught.value.__notes__ == ["in member 3 of a population of 5"]
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["population"]


def test_a_loss_that_is_a_function_is_refused(tmp_path):
    def loss(a, y):
        return ((a - y) ** 2).sum(axis=1), 2 * (a - y)

    with pytest.raises(TypeError, match="which is a function"):
        Population.of(2, (3, 1), loss=loss).save(tmp_path / "population")
    assert os.listdir(tmp_path) == []


def test_more_members_than_a_file_takes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp.population._file.MAX_MEMBERS", 4)
    with pytest.raises(ValueError, match="at most 4 members; the population has 5: save slices"):
        small_population().save(tmp_path / "population")
    assert os.listdir(tmp_path) == []
    small_population()[1:].save(tmp_path / "population")
    assert len(load(tmp_path / "population")) == 4


def test_formulas_of_all_members_count_together(tmp_path, monkeypatch):
    activation = "formula(z * sigmoid(z))"
    population = Population.of(3, (2, 3, 1), activation=activation)
    length = 3 * len(str(population[0].activations[0]))
    population.save(tmp_path / "population")
    monkeypatch.setattr("fastbp._network.model_file.MAX_FORMULAS", length - 1)
    with pytest.raises(ModelFileError, match=f"have {length} characters; at most {length - 1}"):
        load(tmp_path / "population")
    with pytest.raises(ValueError, match=f"those of the networks have {length}: pickle them"):
        population.save(tmp_path / "other")
    population[:2].save(tmp_path / "two")
    assert len(load(tmp_path / "two")) == 2


# ---- forged files -------------------------------------------------------------------------


def of(field, value):
    """A change of one field of the architecture of member 1."""

    def change(tensors, metadata, members):
        members[1]["architecture"][field] = value

    return change


def replaced(text):
    """A change of the whole text of the members."""

    def change(tensors, metadata, members):
        metadata["members"] = text

    return change


FORGED = {
    "another version": (lambda t, m, _: m.update(version="2"), "expected version '1' .* got '2'"),
    "no version": (lambda t, m, _: m.pop("version"), "expected version '1' .* got None"),
    "other metadata": (lambda t, m, _: m.update(author="me"), "unknown metadata 'author'; known: "),
    "no members": (lambda t, m, _: m.pop("members"), "the metadata lack 'members'"),
    "a network's format": (lambda t, m, _: m.update(format="fastbp"), "unknown metadata 'members'"),
    "no JSON": (replaced("["), "the list of members is not valid UTF-8 JSON"),
    "an object": (replaced("{}"), "the list of members must be a JSON list; got an object"),
    "NaN": (replaced("[NaN]"), "NaN is not JSON"),
    "a key twice": (replaced('[{"version": "1", "version": "1"}]'), "'version' appears twice"),
    "deep": (replaced("[" * 100_000), "not valid UTF-8 JSON"),
    "an empty list": (replaced("[]"), "1 to 10000 members; this one lists 0"),
    "too many": (replaced(f"[{'0,' * 10_000}0]"), "1 to 10000 members; this one lists 10001"),
    "a number": (replaced("[1]"), "member 0: the member must be an object; got 1"),
    "fewer": (lambda t, m, members: members.pop(), "unexpected tensor 'members.4.layers.0.W'"),
    "more": (
        lambda t, m, members: members.append(members[-1]),
        "tensor 'members.5.layers.0.W' is missing",
    ),
    "an unknown field": (
        lambda t, m, members: members[2].update(extra=1),
        "member 2: the member has the unknown field 'extra'",
    ),
    "no architecture": (
        lambda t, m, members: members[2].pop("architecture"),
        "member 2: the member lacks 'architecture'",
    ),
    "a version that no network has": (
        lambda t, m, members: members[0].update(version="10"),
        "member 0: expected version 1, 2, 3, 4, 5, 6, 7, 8, 9 of a network; got '10'",
    ),
    "a version of other fields": (
        lambda t, m, members: members[0].update(version="2"),
        "member 0: the architecture lacks 'layers'",
    ),
    "preprocessing of a number": (
        lambda t, m, members: members[0].update(preprocessing=1),
        "member 0: preprocessing in the member must be an object; got 1",
    ),
    "preprocessing of a table": (
        lambda t, m, members: members[0].update(
            preprocessing=dict.fromkeys(
                ("task", "features", "categories", "mean", "scale", "target"), 1
            )
        ),
        "member 0: invalid preprocessing",
    ),
    "other inputs": (of("widths", [2, 2, 4, 1]), "the members must have the same numbers of"),
    "other outputs": (of("widths", [3, 2, 4, 2]), "the members must have the same numbers of"),
    "other units": (of("widths", [3, 3, 4, 1]), r"'members.1.layers.0.W' must be float64"),
    "huge units": (of("widths", [3, 2**40, 4, 1]), "'members.1.layers.0.W' must be float64"),
    "other dtype": (of("dtype", "float32"), "'members.1.layers.0.W' must be float32 of shape"),
    "no activation": (of("activations", ["magic", "relu"]), "unknown activation 'magic'"),
    "a formula": (
        of("activations", ["formula(z * z)", "relu"]),
        "member 1: the architecture has an activation or a loss that is a formula",
    ),
    "no loss": (of("loss", "magic"), "member 1: .* unknown loss 'magic'"),
    "a negative penalty": (of("l1", -1.0), "member 1: the architecture does not hold: l1 must not"),
    "feature names": (
        lambda t, m, members: members[4]["architecture"].update(feature_names=["a"]),
        "member 4: the architecture does not hold: ",
    ),
    "a missing tensor": (
        lambda t, m, _: t.pop("members.3.layers.1.b"),
        "tensor 'members.3.layers.1.b' is missing",
    ),
    "a tensor of a network": (
        lambda t, m, _: t.update({"layers.0.W": np.zeros(1)}),
        "unexpected tensor 'layers.0.W'; a population of 5 has members.0.layers.0.W to members.4.",
    ),
    "an infinite weight": (
        lambda t, m, _: t["members.1.layers.0.b"].fill(-np.inf),
        r"member 1: tensor 'members.1.layers.0.b' holds -inf at \[0\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_is_refused(tmp_path, name):
    change, message = FORGED[name]
    path = tmp_path / "population"
    forge(path, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_layers_of_all_members_count_together(tmp_path):
    """Text of a few megabytes does not make a layer for each of its numbers."""
    member = {
        "version": "1",
        "architecture": {
            "widths": [1] * 40_000,
            "activations": [],
            "output": "identity",
            "loss": "mse",
            "dtype": "float32",
            "l1": 0,
            "l2": 0,
            "seed": 0,
        },
    }
    metadata = {"format": "fastbp-population", "version": "1", "members": json.dumps([member] * 2)}
    write_safetensors(tmp_path / "population", {}, metadata)
    with pytest.raises(ModelFileError, match="have 79998 layers; at most 65536 are allowed"):
        load(tmp_path / "population")


def test_a_truncated_file_is_refused(saved, tmp_path):
    _, content = saved
    path = tmp_path / "cut"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load(path)


@settings(max_examples=200)
@replaced_stretches
def test_replaced_stretches_load_or_are_refused(saved, start, length, new):
    path, content = saved
    end = 8 + int.from_bytes(content[:8], "little")
    start = 8 + start % (end - 8)
    header = content[8:start] + new + content[start + length : max(end, start + length)]
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of losses that do not suit the output
        try:
            loaded = load(path)
        except ModelFileError:
            return
    assert all(np.isfinite(net.theta).all() for net in loaded)


def test_a_network_is_no_population_and_loads_as_before(tmp_path):
    Network((3, 1), seed=0).save(tmp_path / "net")
    assert type(load(tmp_path / "net")) is Network


# ---- writing ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "population"
    small_population().save(path)
    old = path.read_bytes()

    def fail(*args, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"fastbp._files.atomic.os.{step}", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        small_population()[:2].save(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["population"]


# ---- the command --------------------------------------------------------------------------


def test_the_command_says_how_to_predict_with_a_member(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small_population().save("population")
    (tmp_path / "rows.csv").write_text("1,2,3\n")
    assert main(["predict", "population", "rows.csv"]) == 1
    assert capsys.readouterr().err == (
        "fastbp: error: population is a population of 5 networks that differ in their "
        "preprocessing, so that the mean of their outputs is no prediction: save a member of it by "
        "itself, fastbp.load(path)[0].save(...)\n"
    )
    assert main(["predict", "rows.csv", "population"]) == 1
    assert "the arguments look swapped" in capsys.readouterr().err
