"""Counter of constructions that a native engineer would not write.

    python -m tests.language [PATH ...]

prints every hit in the given files and folders (default: the whole repository) as
`file:line: [construction -> what to write instead] line`, then words, hits and hits per 1,000 words
of each folder.

Counted is what people read: docstrings, comments and strings of several words in Python, text and
comments of code blocks in Markdown, comments and text values in YAML, comments elsewhere. Code,
text in backticks, f-string fields and link targets are not.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Files that people read, below ROOT.
_FILES = (
    *("*.md", "*.py", "*.txt", "*.toml", "*.cff", "*.yml", "*.yaml", "Makefile", ".editorconfig"),
    *(
        "data/README.md",
        "ckpts/README.md",
        "docs/**/*.md",
        "docs/*.py",
        "configs/**/*.yaml",
        ".ci/*",
        ".github/**/*.*",
    ),
    *("slowfast/**/*.py", "tools/**/*.py", "tools/**/*.sbatch", "tests/**/*.py"),
)
# These two quote the constructions.
_QUOTING = {"tests/language.py", "tests/test_language.py"}

# Longer lines (Markdown) are cut in the report.
_LONG_LINE = 120
# Takes the place of code in a text, character by character, so that positions stay.
_CODE = "•"
_WORD = re.compile(r"[A-Za-z][\w'-]*")
_SEVERAL_WORDS = re.compile(r"[A-Za-z]{2,}[,;:]? +[A-Za-z]{2,}")


@dataclass(frozen=True)
class Construction:
    """A pattern to count.

    name: shown in the report. pattern: regular expression; a space matches any white space.
    instead: what to write. unless_after: no hit where this matches the text right before the hit.
    docstrings_only: searched at the start of docstrings alone.
    """

    name: str
    pattern: str
    instead: str
    unless_after: str = ""
    docstrings_only: bool = False

    def positions(self, passage: Passage) -> Iterator[int]:
        """Where the hits in a passage start."""
        if self.docstrings_only and not passage.is_docstring:
            return
        for match in _compiled(self.pattern).finditer(passage.text):
            before = passage.text[: match.start()]
            if not self.unless_after or not _compiled(f"(?:{self.unless_after})$").search(before):
                yield match.start()


@dataclass(frozen=True)
class Passage:
    """Text for people: line in its file where it starts, and the text, code in it blanked."""

    line: int
    text: str
    is_docstring: bool = False


@dataclass(frozen=True)
class Hit:
    """One construction at one place; `text` is the line that it starts in."""

    path: str
    line: int
    construction: Construction
    text: str

    def __str__(self) -> str:
        name, instead = self.construction.name, self.construction.instead
        return f"{self.path}:{self.line}: [{name} -> {instead}] {self.text}"


_PEOPLE = r"\b(person|people|camera|wearer)\b[^.;]{0,40}"

CONSTRUCTIONS = (
    Construction(
        "goes on",
        r"\b(go|goes|went|gone) on\b(?! (to|top|the (GPU|device|host|disk|CPU))\b)"
        r"|\bgoing on (from|with|where|at|\w+ing)\b|\bstill going\b|\b(live|lives|lived) on\b",
        "resumes from, continues, keeps",
    ),
    Construction(
        "hands on",
        r"\b(hands|handed|handing)( it| them)? on\b|\bhand (it|them) on\b",
        "passes on, forwards",
    ),
    Construction("of its own", r"\bof (its|their) own\b", "its own, separate"),
    Construction("without a word", r"\bwithout (a word|end)\b", "silently, indefinitely"),
    Construction("in turns", r"\bin turns\b(?! \()", "alternately"),
    Construction("as ever", r"\bas ever\b", "as usual, as before"),
    Construction("is told", r"\btold\b(?! (to|apart|you)\b)", "is reported, is logged"),
    Construction(
        "passed over",
        r"\b(passed|passing) over\b|\b(it|which|that|to|and) pass(es)? over\b",
        "skipped",
    ),
    Construction(
        "beside", r"\bbeside\b", "next to, in addition to", r"\b(stands?|sits?|placed|drawn) "
    ),
    Construction(
        "lies",
        r"\b(lie|lies|lying|lain|lay (in|on|at|below|under|there|beside))\b"
        r"(?! ((between|within|inside|outside|on the (line|plane|grid|circle))\b|in [\[(]))",
        "is, is stored",
    ),
    Construction(
        "stands",
        r"\b(stand|stands|stood|standing)\b(?!-| (for|in for|alone|out|up|by|still)\b)",
        "is, is in",
        rf"{_PEOPLE}|\bas it ",
    ),
    # A relative clause, as in "the first that there is". After a verb ("note that there is a
    # file") a noun phrase follows.
    Construction(
        "that there is",
        r"\bthat there (is|are|was|were)"
        r"(?=\s*([.,;:)!?]|\Z)| (in|at|for|of|to|and|or|when|before|after|on|with|then|already)\b)",
        "the available ones, the present ones",
    ),
    Construction(
        "what there is",
        r"\bwhat(ever)?( (?!is|was|are|were)\w+)? there (is|are|was|were)\b",
        "the available ones, what is present",
    ),
    Construction("is none of", r"\b(is|are|was|were|be) none of\b", "is not one of"),
    Construction(
        "is no ...",
        r"\b(is|are|was|were) no\b(?!-)"
        r"(?! (longer|more|less|fewer|better|worse|different|such|need|doubt|guarantee)\b)",
        "is not a, are not",
        r"\b(there|here) ",
    ),
    Construction(
        "but for",
        r"\bbut for\b|\bbut those (of|whose|that|in|which|with|without|who)\b",
        "except",
        r"\bnot\b[^.;:]{0,40}, ",
    ),
    Construction("so many", r"\bso many\b(?![^.;:]{0,40} that\b)", "N, a number of"),
    Construction("is not here", r"\b(is|are|was|were) not here\b", "is not supported"),
    Construction("for ever", r"\bfor ever\b", "indefinitely"),
    Construction("anew", r"\banew\b", "again"),
    Construction("mend", r"\bmend(s|ed|ing)?\b", "fix"),
    Construction(
        "behind",
        r"\bbehind\b(?! (a|an|keys?|flags?)\b)",
        "after",
        r"\b(leav(e|es|ing)|left)( [\w`']+){0,4} "
        r"|\b(sums?|steps?|numbers?|seconds?|reasons?|far) ",
    ),
    Construction("under way", r"\bunder way\b", "in progress, current"),
    Construction(
        "made (a step)",
        r"\b(steps?|updates?)( that)?( is| are| was| were| being)( not)? made\b(?! (of|from|up)\b)"
        r"|\b(step|update) just made\b",
        "applied",
    ),
    Construction(
        "a training",
        r"\b(a|another|every|each|earlier|resumed) training\b"
        r"(?=\s*([.,;:)]|\Z)| (that|which|whose|is|was|has|may|or a test|to|on|with|of|in)\b)"
        r"|(?<![./_])\btrainings\b(?!\.)",
        "a training run, a run",
    ),
    Construction("in vain", r"\bin vain\b", "without result; say what never happened"),
    Construction(
        "way of data",
        r"\bway of (a|the|one|each|every) (batch|sample|frame|clip|checkpoint|file)\b",
        "path",
    ),
    Construction(
        "clause as title",
        r"\A\s*(What|That|Those|Who|Which|Where|How(?! (many|much)\b))\b(?![^.]*\?)",
        "start with a noun phrase or an imperative",
        docstrings_only=True,
    ),
)

_PATTERNS: dict[str, re.Pattern[str]] = {}


def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern not in _PATTERNS:
        _PATTERNS[pattern] = re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE)
    return _PATTERNS[pattern]


def passages(name: str, source: str) -> list[Passage]:
    """The text for people in a file of that name."""
    kind = Path(name).suffix
    if kind == ".py":
        return [*_python_strings(source), *_python_comments(source)]
    if kind == ".md":
        return [Passage(1, _markdown(source))]
    comments = _comment_blocks(_line_comments(source))
    if kind in {".yaml", ".yml", ".cff"}:
        return [*comments, Passage(1, _yaml_values(source))]
    return comments


def count_words(texts: Iterable[Passage]) -> int:
    return sum(len(_WORD.findall(passage.text)) for passage in texts)


def find_hits(name: str, source: str) -> list[Hit]:
    """Hits in a file, in the order of its lines."""
    hits = []
    lines = source.split("\n")
    for passage in passages(name, source):
        for construction in CONSTRUCTIONS:
            for start in construction.positions(passage):
                line = passage.line + passage.text.count("\n", 0, start)
                column = start - passage.text.rfind("\n", 0, start) - 1
                text = lines[line - 1]
                if len(text) > _LONG_LINE:
                    text = f"...{text[max(0, column - 40) : column + 60]}..."
                hits.append(Hit(name, line, construction, text.strip()))
    return sorted(hits, key=lambda hit: hit.line)


def project_files() -> list[Path]:
    """Every file whose text is counted."""
    found = {path for pattern in _FILES for path in ROOT.glob(pattern) if path.is_file()}
    return sorted(path for path in found if str(path.relative_to(ROOT)) not in _QUOTING)


@dataclass
class Rate:
    """Words and hits of a group of files."""

    words: int = 0
    hits: int = 0

    @property
    def per_thousand(self) -> float:
        return 1000 * self.hits / max(self.words, 1)


def measure(files: Iterable[Path]) -> tuple[list[Hit], dict[str, Rate]]:
    """All hits, and the rate of each folder; the sum is under `total`."""
    hits: list[Hit] = []
    rates: dict[str, Rate] = defaultdict(Rate)
    for path in files:
        name, source = path.relative_to(ROOT), path.read_text(encoding="utf-8")
        found = find_hits(str(name), source)
        hits += found
        for group in (_group(name), "total"):
            rates[group].words += count_words(passages(str(name), source))
            rates[group].hits += len(found)
    return hits, dict(rates)


def _group(name: Path) -> str:
    """Folder that a file is reported under: two levels of the package, one of the rest."""
    if len(name.parts) == 1:
        return name.name
    if name.parts[0] == "slowfast" and len(name.parts) > 2:
        return "/".join(name.parts[:2])
    return name.parts[0]


def _blank(match: re.Match[str]) -> str:
    """The match without its text: new lines stay, so that positions and lines do."""
    return re.sub(r"[^\n]", _CODE, match[0])


def _space(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _without_code(text: str) -> str:
    """Blank text in backticks."""
    return re.sub(r"(`+)(?!`)[^`]+?\1", _blank, text)


def _python_strings(source: str) -> Iterator[Passage]:
    lines = [line.encode() for line in source.split("\n")]
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in _string_nodes(tree):
        text = _string_text(_segment(lines, node), isinstance(node, ast.JoinedStr))
        if _SEVERAL_WORDS.search(text) or id(node) in docstrings:
            yield Passage(node.lineno, text, id(node) in docstrings)


def _string_nodes(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """String literals; implicitly joined ones are one node, fields of f-strings are left out."""
    if isinstance(node, ast.JoinedStr):
        yield node
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _string_nodes(child)


def _segment(lines: Sequence[bytes], node: ast.expr) -> str:
    """Source of a node; columns of the syntax tree count bytes."""
    assert node.end_lineno is not None
    found = list(lines[node.lineno - 1 : node.end_lineno])
    found[-1] = found[-1][: node.end_col_offset]
    found[0] = found[0][node.col_offset :]
    return b"\n".join(found).decode()


def _string_text(literal: str, has_fields: bool) -> str:
    """Text of the source of a literal: quotes, escapes and fields blanked, lines kept."""
    text = re.sub(r"""["'][ \t]*(#.*)?\n\s*[rbfuRBFU]{0,2}["']""", _space, literal)
    text = re.sub(r"""\A[rbfuRBFU]{0,2}(\"{3}|'{3}|["'])|(\"{3}|'{3}|["'])\Z""", _space, text)
    text = re.sub(r"\\([nrt]|\n)", _space, text)
    if has_fields:
        text = re.sub(r"\{[^{}]*(\{[^{}]*\}[^{}]*)*\}", _blank, text)
    # Names of parameters and fields, which are code.
    text = re.sub(r"^[ \t]*\w+(, \w+)*:(?=\s)", _blank, text, flags=re.MULTILINE)
    return _without_code(text)


def _python_comments(source: str) -> list[Passage]:
    comments = [
        (*token.start, token.line[: token.start[1]].strip() == "", token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
        and not re.match(r"#!|# ?(noqa|type:|fmt:|mypy:)", token.string)
    ]
    return _comment_blocks(comments)


def _line_comments(source: str) -> Iterator[tuple[int, int, bool, str]]:
    """Comments of YAML, TOML, make and shell; as `_comment_blocks` takes them."""
    for number, line in enumerate(source.split("\n"), start=1):
        found = re.search(r"(?:^|(?<=\s))#(?!!).*", line)
        if found:
            yield number, found.start(), line[: found.start()].strip() == "", found[0]


def _comment_blocks(comments: Iterable[tuple[int, int, bool, str]]) -> list[Passage]:
    """Join comments of adjacent lines. Each: line, column, alone on its line, text."""
    blocks: list[list[str]] = []
    first_lines: list[int] = []
    previous = (-1, -1, False)
    for line, column, alone, text in comments:
        words = re.sub(r"^#+", _space, text)
        if alone and previous == (line - 1, column, True):
            blocks[-1].append(words)
        else:
            blocks.append([words])
            first_lines.append(line)
        previous = (line, column, alone)
    return [
        Passage(line, _without_code("\n".join(block)))
        for line, block in zip(first_lines, blocks, strict=True)
    ]


def _yaml_values(source: str) -> str:
    """Values of several words; keys, comments and other values are blanked."""

    def value(line: str) -> str:
        line = re.sub(r"(^|(?<=\s))#.*", _blank, line)
        line = re.sub(r"^\s*(- )?[\w.-]+:(?=\s|$)", _blank, line)
        return line if len(_WORD.findall(line)) > 2 else re.sub(".", _CODE, line)

    return _without_code("\n".join(map(value, source.split("\n"))))


def _markdown(source: str) -> str:
    """Text without code; comments in code blocks stay."""

    def block(match: re.Match[str]) -> str:
        lines = match[0].split("\n")
        kept = [re.sub(r"^((?:[^#]|(?<=\S)#)*)", _blank, line) for line in lines[1:-1]]
        return "\n".join([re.sub(".", _CODE, lines[0]), *kept, re.sub(".", _CODE, lines[-1])])

    text = re.sub(r"^```.*?^```$", block, source, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)|<[^>\n]*>|https?://\S+", _blank, text)
    return _without_code(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT], help="files and folders")
    args = parser.parse_args()
    tops = [path.resolve() for path in args.paths]
    hits, rates = measure(p for p in project_files() if any(map(p.is_relative_to, tops)))
    for hit in hits:
        print(hit)
    print(f"\n{'':24} {'words':>7} {'hits':>5} {'per 1,000':>9}")
    for group, rate in sorted(rates.items(), key=lambda item: (item[0] == "total", item[0])):
        print(f"{group:24} {rate.words:7} {rate.hits:5} {rate.per_thousand:9.2f}")


if __name__ == "__main__":
    main()
