"""A ranking network on windows of words; word vectors are learned through the input gradient.

Method: Collobert & Weston, "A unified architecture for natural language processing" (2008). The
network computes a score s for a window of five words, and a score s' for the same window with
another word in its centre. It should give the true window the higher score, by a margin of 1: the
cost of a pair is max(0, 1 − s + s'). Where the cost is not 0, its derivative is −1 with respect to
s and +1 with respect to s'. This is the δ for `backward_from`. The word vectors are the inputs of
the network, so the gradient for a vector is a part of `input_gradient`.

Data: the pages of Python's own manual that come with Python for `help("topics")`. Every paragraph
is used once, about 50,000 words in all. The network knows the 1,000 most frequent words. Every
tenth paragraph is held out. A false centre word is the true one of another window. False words are
therefore as frequent as true ones, and a score of the centre word alone would be right for half of
the pairs.

Expected: the true window has the higher score in about 80 to 85 % of the held-out pairs, and
similar words end up close to each other: can, may, should. The program takes about two seconds.

    python examples/word_ranking.py
"""

import re
from collections import Counter
from pydoc_data.topics import topics

import numpy as np

import fastbp

WINDOW, SIZE, KNOWN = 5, 16, 1000  # words per window, numbers per vector, known words
CENTRE = WINDOW // 2
BATCH, EPOCHS = 128, 8


def read():
    """Return the known words, most frequent first, and the paragraphs as lists of word numbers.

    Number 0 stands for every unknown word.
    """
    pages = "\n\n".join(topics[name] for name in sorted(topics)).lower()
    split = [re.findall(r"[a-z]+", paragraph) for paragraph in dict.fromkeys(pages.split("\n\n"))]
    count = Counter(word for paragraph in split for word in paragraph)
    words = ["…", *(word for word, _ in count.most_common(KNOWN))]
    number = {word: i for i, word in enumerate(words)}
    return words, [[number.get(word, 0) for word in paragraph] for paragraph in split]


def windows(paragraphs):
    """Return the windows (n, WINDOW) of the paragraphs whose centre is a known word."""
    found = (p[i : i + WINDOW] for p in paragraphs for i in range(len(p) - WINDOW + 1))
    return np.array([window for window in found if window[CENTRE]])


def corrupted(true, rng):
    """Return the windows, each with the centre word of another one."""
    false = true.copy()
    false[:, CENTRE] = rng.permutation(true[:, CENTRE])
    return false


def train_pairs(net, optimizer, vectors, squares, true, false):
    """Make one step on pairs of windows, with AdaGrad for the vectors; return the mean cost."""
    both = np.concatenate([true, false])
    score, score_false = net.forward(vectors[both].reshape(len(both), -1)).reshape(2, -1)
    cost = np.maximum(0, 1 - score + score_false)
    slope = (cost > 0).astype(np.float32)
    net.backward_from(np.concatenate([-slope, slope])[:, None])
    by_word = net.input_gradient().reshape(-1, SIZE) / len(both)

    order = np.argsort(both.ravel(), kind="stable")  # the rows of one word become neighbours
    used, first = np.unique(both.ravel()[order], return_index=True)
    gradient = np.add.reduceat(by_word[order], first)
    net.step(optimizer)
    squares[used] += gradient**2
    vectors[used] -= 0.1 * gradient / np.sqrt(squares[used] + 1e-10)
    return cost.mean()


def ranked_right(net, vectors, true, false):
    """Return the share of pairs whose true window has the higher score."""
    scores = [net.predict(vectors[part].reshape(len(part), -1)).ravel() for part in (true, false)]
    return float((scores[0] > scores[1]).mean())


def nearest(vectors, words, word, n=5):
    """Return the n known words whose vectors have the largest cosine with that of `word`."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-unit @ unit[words.index(word)])
    return [words[i] for i in order[1 : n + 1]]


def main():
    """Train; return the share of held-out pairs in the right order."""
    rng = np.random.default_rng(0)
    words, paragraphs = read()
    true = windows([p for i, p in enumerate(paragraphs) if i % 10 != 9])
    held = windows(paragraphs[9::10])
    held_false = corrupted(held, rng)
    differ = held[:, CENTRE] != held_false[:, CENTRE]
    held, held_false = held[differ], held_false[differ]
    print(f"windows: {len(true):,} for training, {len(held):,} held out")

    vectors = rng.normal(size=(len(words), SIZE)).astype(np.float32) / 4
    squares = np.zeros_like(vectors)
    net = fastbp.Network((WINDOW * SIZE, 64, 1), seed=0)
    optimizer = fastbp.optim.Adam(3e-3)
    for epoch in range(EPOCHS):
        order, false = rng.permutation(len(true)), corrupted(true, rng)
        rows = (order[i : i + BATCH] for i in range(0, len(order), BATCH))
        costs = [train_pairs(net, optimizer, vectors, squares, true[r], false[r]) for r in rows]
        share = ranked_right(net, vectors, held, held_false)
        print(f"epoch {epoch + 1:2}  mean cost {np.mean(costs):.3f}  held out, right {share:.1%}")
    for word in ("can", "is", "called", "two"):
        print(f"{word:>8}: {', '.join(nearest(vectors, words, word))}")
    return share


if __name__ == "__main__":
    main()
