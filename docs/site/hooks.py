"""The hooks that build the site from this repository; mkdocs.yml refers to this file.

Pages have the same paths as in the repository, so that the same links work on the site and in the
repository. Three parts are generated: the API reference, the gallery, and a page for each example.
"""

import ast
import logging
import re
from pathlib import Path, PurePosixPath

import api
import gallery
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# Pages and files of the site that are not in docs/
OUTSIDE = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"),
    *(
        "csrc/README.md",
        "fastbp/README.md",
        "tests/README.md",
        "tests/attacks/README.md",
        "tools/README.md",
        "benchmarks/README.md",
        "examples/README.md",
        "examples/slurm.sh",
    ),
]
GALLERY = "gallery"
log = logging.getLogger("mkdocs.hooks.fastbp")


def on_files(files, config):
    """Return all files of the site, and add the generated parts to nav."""
    examples = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
    from_theme = [file for file in files if file.src_dir != config.docs_dir]
    from_docs = [
        f"docs/{file.src_uri}"
        for file in files
        if file.src_dir == config.docs_dir and file.inclusion.is_included()
    ]
    from_examples = [f"examples/{name}.py" for name in examples]
    pages = api.pages()
    texts = {
        "api/index.md": api.index(),
        **{f"api/{page.path}.md": api.markdown(page) for page in pages},
        f"{GALLERY}/index.md": gallery.markdown("."),
        **{f"examples/{name}.md": example_page(name) for name in examples},
    }
    pictures = {f"{GALLERY}/{f.__name__}.png": gallery.draw(f) for f in gallery.DRAWN}
    live = {f"{GALLERY}/{f.__name__}.html": f().to_html() for f in gallery.PAGES}
    config.nav = with_generated(
        config.nav,
        {
            "api/": ["api/index.md", *({p.path: f"api/{p.path}.md"} for p in pages)],
            "examples/": [
                "examples/README.md",
                *({name: f"examples/{name}.md"} for name in examples),
            ],
        },
    )
    return Files(
        [
            *from_theme,
            *(from_repository(path, config) for path in [*from_docs, *OUTSIDE, *from_examples]),
            *(File.generated(config, path, content=text) for path, text in texts.items()),
            *(File.generated(config, path, content=png) for path, png in pictures.items()),
            *(File.generated(config, path, content=html) for path, html in live.items()),
        ]
    )


def from_repository(path, config):
    """Return a file of the repository; pages and pictures in docs/ are published in guide/."""
    file = File(path, str(ROOT), config.site_dir, config.use_directory_urls)
    if path.startswith("docs/") and not path.startswith("docs/site/"):
        file.dest_uri = "guide/" + file.dest_uri.removeprefix("docs/")
    elif path == "LICENSE":
        file.dest_uri = "LICENSE.txt"  # browsers show .txt files
    return file


def with_generated(nav, parts):
    """Return nav with each entry `title: key` replaced by the list `parts[key]`."""
    if isinstance(nav, list):
        return [with_generated(entry, parts) for entry in nav]
    if isinstance(nav, dict):
        return {title: with_generated(entry, parts) for title, entry in nav.items()}
    return parts.get(nav, nav)


def example_page(name):
    """Return the page of an example: its docstring and its source code."""
    source = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    head = ast.parse(source).body[0]
    title, _, text = ast.get_docstring(ast.parse(source)).partition("\n\n")
    code = "\n".join(source.splitlines()[head.end_lineno :]).strip()
    title = title.rstrip(".")
    return f"# {title}\n\n{text}\n\n## Source\n\n[{name}.py]({name}.py)\n\n```python\n{code}\n```\n"


def on_page_markdown(markdown, page, **_):
    """Highlight console examples as such, and link programs to their pages."""
    markdown = re.sub(r"^```(?:python)?\n(?=>>> )", "```pycon\n", markdown, flags=re.MULTILINE)
    markdown = re.sub(r"^<BLANKLINE>$", "", markdown, flags=re.MULTILINE)
    if PurePosixPath(page.file.src_uri).parent.name == "examples" and page.file.generated_by:
        return markdown
    return re.sub(r"\]\(((?:\.\./)?(?:examples/)?\w+)\.py\)", r"](\1.md)", markdown)


def on_page_content(html, **_):
    """Link `fastbp.…` in text to the API reference if it is a public name."""
    return re.sub(
        r'(?<!">)<code>(fastbp(?:\.\w+)+)(\([^<]*\))?</code>',
        r'<autoref optional identifier="\1"><code>\1\2</code></autoref>',
        html,
    )


def on_post_page(output, page, **_):
    """Warn if a page loads anything from another site; the build treats warnings as errors."""
    found = re.findall(
        r"<(?:link|script|img|iframe|source)\b[^>]*\b(?:href|src)=[\"']?((?:https?:)?//[^\"'\s>]+)",
        output,
    )
    for url in found:
        log.warning("%s loads %s from another site", page.file.src_uri, url)
    return output
