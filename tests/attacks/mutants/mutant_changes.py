"""Every small change of a C file: one operator, constant, index, argument or statement."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from mutant_tokens import closing, functions_of, tokens_of

# What replaces an operator, by the name of the change.
OPERATORS = {
    "sum": {"+": "-", "-": "+", "+=": "-=", "-=": "+=", "++": "--", "--": "++"},
    "product": {"*": "+", "/": "*", "%": "*", "*=": "/=", "/=": "*="},
    "edge": {"<": "<=", "<=": "<", ">": ">=", ">=": ">"},
    "order": {"<": ">=", "<=": ">", ">": "<=", ">=": "<"},
    "equal": {"==": "!=", "!=": "=="},
    "logic": {"&&": "||", "||": "&&"},
    "bits": {"&": "|", "|": "&", "<<": ">>", ">>": "<<", "|=": "&=", "&=": "|=", "^": "|"},
}
# The operations of vectors are functions, so a change of an operator is another name.
PAIRS = [
    *(("v_add", "v_sub"), ("v_mul", "v_add"), ("v_div", "v_mul"), ("v_quotient", "v_mul")),
    *(("v_fma", "v_fnma"), ("v_min", "v_max"), ("v_lt", "v_gt"), ("v_eq", "v_ne")),
    *(("fbp_min", "fbp_max"), ("fmin", "fmax"), ("fminf", "fmaxf"), ("floor", "ceil")),
    *(("add", "sub"), ("mul", "add"), ("div", "mul"), ("min", "max"), ("fmadd", "fnmadd")),
    *(("unpacklo", "unpackhi"), ("and", "or"), ("xor", "or"), ("andnot", "and")),
]
NAMES = {b: a for a, b in PAIRS} | dict(PAIRS)
# Their arguments may be exchanged.
COMMUTATIVE = {"v_add", "v_mul", "m_and", "w_mul", "v_eq", "v_ne", "fbp_min", "fbp_max"}
COMMUTATIVE |= {"add", "mul", "and", "or", "xor", "fbp_size_add", "fbp_size_mul"}
TYPES = {"const", "static", "enum", "struct", "union", "unsigned", "extern", "typedef", "goto"}
LEAVING = {"return", "break", "continue"}
BLOCKS = {"if", "else", "for", "while", "do", "switch", "case", "default"}


@dataclass(frozen=True)
class Mutant:
    """One change: the text between two offsets of a file is replaced."""

    file: str
    function: str
    kind: str
    number: int  # among the changes of this kind in this function
    line: int
    start: int
    end: int
    new: str

    @property
    def id(self):
        return f"{self.file}:{self.function}:{self.kind}:{self.number}"

    def apply(self, text):
        """Return the text of the file with this change."""
        return text[: self.start] + self.new + text[self.end :]

    def show(self, text):
        """Return the change as one line: old text → new text."""
        begin, stop = text.rfind("\n", 0, self.start) + 1, text.find("\n", self.end)
        after = self.apply(text)
        both = text[begin:stop], after[begin : stop + len(after) - len(text)]
        return " → ".join(" ".join(each.split()) for each in both)


def vector_name(word):
    """Return the name of the opposite operation of a vector, or None."""
    if word in NAMES:
        return NAMES[word]
    parts = word.split("_")
    if word.startswith("_mm") and len(parts) > 2 and parts[2] in NAMES:
        parts[2] = NAMES[parts[2]]
        return "_".join(parts)
    for suffix in ("_f32", "_f64"):
        if word.endswith(suffix) and word.removesuffix(suffix) in NAMES:
            return NAMES[word.removesuffix(suffix)] + suffix
    return None


def is_value(token):
    """Whether a binary operator may follow this token."""
    return (
        token.kind in {"word", "number", "char"}
        and token.text not in {"return", "case"}
        or (token.text in {")", "]"})
    )


def operators(body):
    for before, token in pairwise(body):
        if token.kind != "mark":
            continue
        unary = not is_value(before) and token.text in {"-", "!", "+"}
        if unary:
            yield "unary", token, token, ""
            continue
        if token.text in {"*", "&"} and not is_value(before):
            continue  # a pointer
        for kind, table in OPERATORS.items():
            if token.text in table:
                yield kind, token, token, table[token.text]


def names(body):
    for token in body:
        other = vector_name(token.text) if token.kind == "word" else None
        if other is not None:
            yield "name", token, token, other


def constants(body):
    for token in body:
        if token.kind != "number":
            continue
        digits = token.text.rstrip("uUlL")
        if digits.isdigit():
            suffix = token.text[len(digits) :]
            yield "more", token, token, f"{int(digits) + 1}{suffix}"
            if int(digits) > 0:
                yield "less", token, token, f"{int(digits) - 1}{suffix}"
        elif "x" not in digits.lower() or "p" in digits.lower():
            yield "factor", token, token, f"(1.01f * {token.text})"


def indices(body):
    for i, token in enumerate(body):
        if token.text == "[" and i and body[i - 1].kind == "word":
            last = closing(body, i)
            if last is not None and last > i + 1:
                yield "index", body[last], body[last], " + 1]"


def loops(body):
    """Loops that end one turn early."""
    for i, token in enumerate(body):
        if token.text != "for" or body[i + 1].text != "(":
            continue
        end = closing(body, i + 1)
        marks = [k for k in range(i + 1, end) if body[k].text == ";"]
        for k in range(marks[0], marks[1]):
            if body[k].text in {"<", "<="}:
                yield "end", body[k], body[k], f"+ 1 {body[k].text}"


def choices(body):
    """c ? a : b with a and b exchanged."""
    for i, token in enumerate(body):
        if token.text != "?":
            continue
        depth, middle, nested = 0, None, 0
        for k in range(i + 1, len(body)):
            text = body[k].text
            if depth == 0 and text == "?":
                nested += 1
            if depth == 0 and text == ":":
                if middle is not None or nested:
                    nested -= 1
                else:
                    middle = k
            if depth == 0 and (text in {",", ";", ")", "]", "}"}):
                if middle is not None:
                    yield "choice", token, (body[i + 1], body[middle], body[k - 1]), None
                break
            depth += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})


def arguments(body):
    """Calls with two neighbouring arguments exchanged."""
    for i, token in enumerate(body[:-1]):
        if token.text != "(" or body[i - 1].kind != "word" or body[i - 1].text in BLOCKS:
            continue
        if {body[i - 1].text, *body[i - 1].text.split("_")[2:3]} & COMMUTATIVE:
            continue
        end, parts, first, depth = closing(body, i), [], i + 1, 0
        for k in range(i + 1, end + 1):
            if depth == 0 and (body[k].text == "," or k == end):
                parts.append((first, k - 1))
                first = k + 1
            depth += (body[k].text in {"(", "[", "{"}) - (body[k].text in {")", "]", "}"})
        for (a, b), (c, d) in pairwise(parts):
            if a <= b <= a + 2 and c <= d <= c + 2:
                yield "swap", body[a], (body[a], body[b + 1], body[d]), None


def statements(body):
    """Statements left out: calls, assignments and jumps, but no declarations."""
    for i in range(1, len(body) - 1):
        word, after = body[i], body[i + 1].text
        if body[i - 1].text not in {";", "{", "}", ")", "else", ":"}:
            continue
        if word.text in {"*", "++", "--"} and body[i - 1].text != ")":
            starts = True
        elif word.kind != "word" or word.text in TYPES | BLOCKS:
            continue
        else:
            starts = word.text in LEAVING or after in {
                *("(", "=", "->", ".", "[", "++", "--"),
                *("+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>="),
            }
        end = statement_end(body, i)
        if not starts or end is None or (word.text == "return" and end + 2 >= len(body)):
            continue
        yield ("leave" if word.text in LEAVING else "drop"), word, body[end], ";"


def statement_end(body, at):
    """Return the index of the ; that ends the statement at index `at`, or None if { comes first."""
    depth = 0
    for k in range(at, len(body)):
        text = body[k].text
        if depth == 0 and text == ";":
            return k
        depth += (text in {"(", "[", "{"}) - (text in {")", "]", "}"})
        if depth < 0 or (text == "{" and body[k - 1].text == ")" and depth == 1):
            return None
    return None


CHANGES = [operators, names, constants, indices, loops, choices, arguments, statements]


def mutants_of(file, text):
    """Return every mutant of a file, in the order of its functions and kinds."""
    found = []
    for function in functions_of(tokens_of(text)):
        count = Counter()
        for change in CHANGES:
            for kind, first, last, new in change(function.body):
                if new is None:  # exchange the two parts around the mark in the middle
                    a, mark, z = last
                    left, right = text[a.start : mark.start], text[mark.end : z.end]
                    start, end = a.start, z.end
                    new = f"{right.strip()} {mark.text} {left.strip()}"
                else:
                    start, end = first.start, last.end
                if text[start:end] == new:
                    continue
                count[kind] += 1
                found.append(
                    Mutant(file, function.name, kind, count[kind], first.line, start, end, new)
                )
    return found
