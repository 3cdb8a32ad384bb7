"""A ranking network on windows of words, with word vectors learned through the input gradient.

Method: Collobert & Weston, "A unified architecture for natural language processing" (2008). A score
s is computed for a window of five words, and another, s', for the same window with its centre word
replaced by a random one. The network is to put the true window higher, by a margin of 1: the cost
of a pair is max(0, 1 − s + s'). Where it is not 0, its slopes are −1 by s and +1 by s', which is
the δ that `backward_from` takes. The words' vectors are the network's inputs, so the slope of the
cost by a vector is a part of `input_gradient`.

Data: the pages of Python's own manual that come with Python for `help("topics")`, every paragraph
once, some 50,000 words, of which the 1,000 most frequent are told apart. Every tenth paragraph is
held out. A false centre is the true one of another window, so that false words are as frequent as
true ones, and a score that looked at the centre alone would be right half of the time.

Expected: the true word first in about 80 to 85 % of the held-out pairs, and words of a kind near to
each other in the end: can, may, should. In about two seconds.

    python examples/word_ranking.py
"""

import re
from collections import Counter
from pydoc_data.topics import topics

import numpy as np

import fastbp

WINDOW, SIZE, KNOWN = 5, 16, 1000  # words in a window, numbers in a word's vector, words told apart
CENTRE = WINDOW // 2
BATCH, EPOCHS = 128, 8


def read():
    """The known words, frequent ones first, and the paragraphs as lists of their numbers.

    Number 0 stands for every other word.
    """
    pages = "\n\n".join(topics[name] for name in sorted(topics)).lower()
    split = [re.findall(r"[a-z]+", paragraph) for paragraph in dict.fromkeys(pages.split("\n\n"))]
    count = Counter(word for paragraph in split for word in paragraph)
    words = ["…", *(word for word, _ in count.most_common(KNOWN))]
    number = {word: i for i, word in enumerate(words)}
    return words, [[number.get(word, 0) for word in paragraph] for paragraph in split]


def windows(paragraphs):
    """The windows (n, WINDOW) in the paragraphs whose centre is a known word."""
    found = (p[i : i + WINDOW] for p in paragraphs for i in range(len(p) - WINDOW + 1))
    return np.array([window for window in found if window[CENTRE]])


def corrupted(true, rng):
    """The windows with the centre word of another one."""
    false = true.copy()
    false[:, CENTRE] = rng.permutation(true[:, CENTRE])
    return false


def train_pairs(net, optimizer, vectors, squares, true, false):
    """One step on pairs of windows; vectors (n_words, SIZE) by AdaGrad. Returns the mean cost."""
    both = np.concatenate([true, false])
    score, score_false = net.forward(vectors[both].reshape(len(both), -1)).reshape(2, -1)
    cost = np.maximum(0, 1 - score + score_false)
    slope = (cost > 0).astype(np.float32)
    net.backward_from(np.concatenate([-slope, slope])[:, None])
    by_word = net.input_gradient().reshape(-1, SIZE) / len(both)

    order = np.argsort(both.ravel(), kind="stable")  # the rows of one word beside each other
    used, first = np.unique(both.ravel()[order], return_index=True)
    gradient = np.add.reduceat(by_word[order], first)
    net.step(optimizer)
    squares[used] += gradient**2
    vectors[used] -= 0.1 * gradient / np.sqrt(squares[used] + 1e-10)
    return cost.mean()


def ranked_right(net, vectors, true, false):
    """Share of pairs whose true window has the higher score."""
    scores = [net.predict(vectors[part].reshape(len(part), -1)).ravel() for part in (true, false)]
    return float((scores[0] > scores[1]).mean())


def nearest(vectors, words, word, n=5):
    """The n known words whose vectors have the largest cosine with that of `word`."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-unit @ unit[words.index(word)])
    return [words[i] for i in order[1 : n + 1]]


def main():
    """Trains, and returns the share of held-out pairs ranked right."""
    rng = np.random.default_rng(0)
    words, paragraphs = read()
    true = windows([p for i, p in enumerate(paragraphs) if i % 10 != 9])
    held = windows(paragraphs[9::10])
    held_false = corrupted(held, rng)
    differ = held[:, CENTRE] != held_false[:, CENTRE]
    held, held_false = held[differ], held_false[differ]
    print(f"windows: {len(true):,} to train on, {len(held):,} held out")

    vectors = rng.normal(size=(len(words), SIZE)).astype(np.float32) / 4
    squares = np.zeros_like(vectors)
    net = fastbp.Network((WINDOW * SIZE, 64, 1), seed=0)
    optimizer = fastbp.optim.Adam(3e-3)
    for epoch in range(EPOCHS):
        order, false = rng.permutation(len(true)), corrupted(true, rng)
        rows = (order[i : i + BATCH] for i in range(0, len(order), BATCH))
        costs = [train_pairs(net, optimizer, vectors, squares, true[r], false[r]) for r in rows]
        share = ranked_right(net, vectors, held, held_false)
        print(f"epoch {epoch + 1:2}  mean cost {np.mean(costs):.3f}  held out, right: {share:.1%}")
    for word in ("can", "is", "called", "two"):
        print(f"{word:>8}: {', '.join(nearest(vectors, words, word))}")
    return share


if __name__ == "__main__":
    main()
