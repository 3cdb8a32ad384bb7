"""Pages in headless Chromium: buttons are clicked, and numbers are read from the page."""

import re

import pytest
from browser import MISSING, chromium, installed

import fastbp
from fastbp import gates
from fastbp._page.page import fragment

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(installed() is None, reason=MISSING),
    # selenium leaves the closing of its sockets to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
WIDE, NARROW = (1280, 900), (380, 800)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    pytest.importorskip("selenium", reason="the extra test has it")
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def net():
    net = fastbp.Network((2, 3, 2), activation="tanh", output="sigmoid", seed=3, dtype="float64")
    net.layers[0].b = [0.1, -0.2, 0.3]
    return net


X, Y = [0.5, -1.25], [1.0, 0.0]


@pytest.fixture(scope="module")
def text(net):
    """The page of a network, whose steps are z¹ a¹ z² a² J, then δ² dW² δ¹ dW¹."""
    return fastbp.plot.walk(net, X, Y).to_html()


@pytest.fixture
def show(browser, tmp_path):
    """Open a text as a file in a window of some size; returns the browser."""

    def open_page(text, size=WIDE, scheme="light", motion="no-preference"):
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        media = [{"name": name, "value": value} for name, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(path.as_uri())
        return browser

    return open_page


def all_of(browser, selector):
    return browser.find_elements("css selector", selector)


def one(browser, selector):
    return browser.find_element("css selector", selector)


def press(browser, name, times=1):
    for _ in range(times):
        one(browser, f"button[data-do={name}]").click()


def seen(browser, selector):
    """The exact numbers of the elements that are visible."""
    script = """return [...document.querySelectorAll(arguments[0])]
        .filter((each) => getComputedStyle(each).visibility === "visible")
        .map((each) => [each.textContent, Number(each.dataset.number)])"""
    return browser.execute_script(script, selector)


def numbers(browser, selector):
    return [number for _, number in seen(browser, selector)]


def status(browser):
    return one(browser, ".status").text


def test_numbers_of_the_page_are_those_of_the_engine(show, text, net):
    browser = show(text)
    hidden, output = net.walk(X, Y).layers
    walk = net.walk(X, Y)
    assert status(browser) == "Every step is shown."
    assert numbers(browser, "svg text.value") == [*X, *hidden.a, *output.a, walk.J]
    assert numbers(browser, "svg text.gradient") == [*hidden.delta, *output.delta]
    assert numbers(browser, ".box.gate text:not(.value, .gradient)[data-number]") == [
        *hidden.z,
        *output.z,
    ]
    weights = [v for layer in (hidden, output) for v in layer.W.ravel()]
    gradients = [v for layer in (hidden, output) for v in layer.dW.ravel()]
    assert numbers(browser, "svg .beside tspan:not(.gradient)") == weights
    assert numbers(browser, "svg .beside tspan.gradient") == gradients
    for shown, number in seen(browser, "svg [data-number]"):
        digits = float(re.search(r"[\d.e−]+$", shown)[0].replace("−", "-"))
        assert digits == pytest.approx(number, rel=5e-3, abs=0)  # three digits at least
    journal = one(browser, ".journal").text
    for line in str(walk).splitlines():
        if line.startswith(" " * 6):
            assert line.strip() in journal


def test_numbers_of_gates_are_those_of_the_trace(show):
    """(x + y) z at (−2, 5, −4), one step after another, and the worked sum of two paths."""
    x, y, z = gates.inputs("x", "y", "z")
    trace = ((x + y) * z).trace(x=-2, y=5, z=-4)
    browser = show(trace.to_html())
    assert numbers(browser, "svg text.value") == list(trace.values.values()) == [-2, 5, 3, -4, -12]
    assert numbers(browser, "svg text.gradient") == [-4, -4, -4, 3, 1]
    press(browser, "reset")
    assert numbers(browser, "svg text.value") == [-2, 5, -4]
    press(browser, "forward")
    assert status(browser) == "Forward step 1 of 2: g1 = x + y = −2 + 5 = 3"
    assert numbers(browser, "svg text.value") == [-2, 5, 3, -4]
    press(browser, "backward", 3)
    assert status(browser) == "Backward step 3 of 5: ∂f/∂g1 = ∂f/∂f · z = 1 · (−4) = −4"
    assert numbers(browser, "svg text.gradient") == [-4, 3, 1]
    boxes = {each.get_attribute("aria-label"): each for each in all_of(browser, ".box")}
    boxes["g1 = x + y"].click()
    assert one(browser, ".details").text.splitlines() == [
        "g1 = x + y",
        "g1 = −2 + 5 = 3",
        "∂g1/∂x = 1",
        "∂g1/∂y = 1",
        "∂f/∂g1 = ∂f/∂f · z",
        "∂f/∂g1 = 1 · (−4) = −4",
    ]
    a, b = gates.inputs("a", "b")
    browser = show(((a + b) * (b + 1)).trace(a=2, b=1).to_html())
    assert numbers(browser, ".box.input text.gradient") == [2, 5]


def test_forward_and_backward_steps_show_one_thing_after_another(show, text, net):
    browser = show(text)
    hidden, output = net.walk(X, Y).layers
    press(browser, "reset")
    assert numbers(browser, "svg text.value") == X and not seen(browser, "svg text.gradient")
    assert not all_of(browser, ".journal li:not(.later)")
    press(browser, "forward")
    assert status(browser).startswith("Forward step 1 of 5: Layer 1: z¹ = x W¹ + b¹")
    assert numbers(browser, ".box.gate text:not(.value)[data-number]") == list(hidden.z)
    assert numbers(browser, "svg text.value") == X
    press(browser, "forward")
    assert numbers(browser, "svg text.value") == [*X, *hidden.a]
    now = [each.get_attribute("aria-label") for each in all_of(browser, ".box.now")]
    assert now == [f"Layer 1: 2 -> 3, tanh, unit {k}" for k in (1, 2, 3)]
    assert len(all_of(browser, ".wire.now")) == 6
    press(browser, "backward")  # completes the walk forward first
    assert status(browser).startswith("Backward step 1 of 4: Layer 2: δ² =")
    assert numbers(browser, "svg text.gradient") == list(output.delta)
    assert not numbers(browser, "svg tspan.gradient")
    assert not one(browser, "button[data-do=forward]").is_enabled()
    press(browser, "backward")
    assert numbers(browser, "svg tspan.gradient") == list(output.dW.ravel())
    press(browser, "undo")
    assert not numbers(browser, "svg tspan.gradient")
    press(browser, "backward", 3)
    assert len(all_of(browser, ".journal li:not(.later)")) == 9
    assert not one(browser, "button[data-do=backward]").is_enabled()
    press(browser, "all")
    assert status(browser) == "Every step is shown." and not all_of(browser, ".now")
    press(browser, "backward")  # from here, each walk begins at its beginning
    assert status(browser).startswith("Backward step 1 of 4")
    press(browser, "all")
    press(browser, "forward")
    assert status(browser).startswith("Forward step 1 of 5")


def test_play_takes_every_step_and_can_be_paused(show, browser, text):
    """The clock is replaced, so that the test decides when a step is due."""
    clock = """window.due = [];
        window.setInterval = (f) => due.push(f);
        window.clearInterval = (n) => { due[n - 1] = null; };"""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": clock})
    try:
        show(text)
        press(browser, "play")
        assert one(browser, "button[data-do=play]").text == "Pause"
        assert status(browser).startswith("Before the first step")
        browser.execute_script("due[0](); due[0]();")
        assert status(browser).startswith("Forward step 2 of 5")
        press(browser, "play")
        assert one(browser, "button[data-do=play]").text == "Play"
        assert browser.execute_script("return due[0]") is None
        press(browser, "play")  # continues
        browser.execute_script("while (due[1]) due[1]();")
        assert status(browser).startswith("Backward step 4 of 4")
        assert one(browser, "button[data-do=play]").text == "Play"
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_details_by_pointer_keyboard_and_tap(show, text):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = show(text)
    boxes = all_of(browser, ".box")

    def details():
        return one(browser, ".details").text

    assert details().startswith("Point at a box")
    ActionChains(browser).move_to_element(boxes[3]).perform()
    assert details().startswith("Layer 1: 2 -> 3, tanh, unit 2\nz¹₂ = ")
    assert "δ¹₂ = " in details() and "dW¹₂₂ = " in details() and "db¹₂ = " in details()
    assert len(all_of(browser, ".wire.chosen")) == 4
    ActionChains(browser).move_to_element(one(browser, "h2")).perform()
    assert details().startswith("Point at a box")
    # by keyboard: one box is in the order of Tab, arrow keys go on from there
    one(browser, "button[data-do=reset]").click()
    ActionChains(browser).send_keys(Keys.TAB, Keys.TAB).perform()
    assert details() == "x₁, input\nx₁ = 0.5"
    ActionChains(browser).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    assert details() == "Layer 1: 2 -> 3, tanh, unit 1"  # its numbers are not known yet
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    press(browser, "forward")
    assert details().startswith("Layer 1: 2 -> 3, tanh, unit 1\nz¹₁ = ") and "a¹₁" not in details()
    # a tap
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        browser.execute_script("arguments[0].scrollIntoView()", boxes[5])
        boxes[5].click()
        ActionChains(browser).move_to_element(one(browser, "h2")).perform()
        assert details().startswith("Layer 2: 3 -> 2, sigmoid, unit 1")
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_page_loads_nothing_and_runs_only_its_own_script(show, text):
    browser = show(text)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    evil = text.replace(
        "<h2>", "<script>window.hacked = 1</script><img src=x onerror='hacked=2'><h2>"
    )
    browser = show(evil)
    assert browser.execute_script("return window.hacked") is None
    assert status(browser) == "Every step is shown."


def test_names_of_users_are_only_text(show):
    from test_page import EVIL, evil_picture

    browser = show(fragment(evil_picture(EVIL)))  # without the policy of a document
    assert browser.execute_script("return typeof window.hacked") == "undefined"
    assert not all_of(browser, "img")
    shown = EVIL.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert one(browser, "h2").get_attribute("textContent") == shown
    press(browser, "forward")
    assert shown in one(browser, ".status").get_attribute("textContent")


def test_without_its_script_the_page_shows_everything(show, text):
    browser = show(text.replace("sha256-", "sha256-0"))  # the policy then refuses the script
    assert not one(browser, ".buttons").is_displayed()
    assert all(each.is_displayed() for each in all_of(browser, "svg text.gradient"))
    assert one(browser, ".box title").get_attribute("textContent") == "x₁, input\nx₁ = 0.5"
    assert all(each.is_displayed() for each in all_of(browser, ".journal li"))


def test_several_pages_on_one(show, net):
    """As in a notebook: two outputs, of which the second comes later, as HTML of an element."""
    part = fastbp.plot.walk(net, X, Y)._repr_html_()
    browser = show(f"<!doctype html><body><div>{part}</div><div id=later></div>")
    browser.execute_script(
        """const place = document.querySelector("#later");
        place.innerHTML = arguments[0];
        const script = document.createElement("script");
        script.textContent = place.querySelector("script").textContent;
        place.append(script);""",
        part,
    )
    first, second = all_of(browser, ".fastbp-page")
    press(second, "forward", 2)
    assert one(second, ".status").text.startswith("Forward step 2 of 5")
    assert one(first, ".status").text == "Every step is shown."
    press(first, "reset")
    assert len(all_of(second, ".journal li:not(.later)")) == 2
    assert not all_of(first, ".journal li:not(.later)")


def test_the_page_works_in_a_sandbox(show, text):
    from html import escape

    frame = (
        f'<iframe sandbox="allow-scripts" width=900 height=700 srcdoc="{escape(text)}"></iframe>'
    )
    browser = show(f"<!doctype html><body>{frame}")
    browser.switch_to.frame(0)
    press(browser, "forward")
    assert status(browser).startswith("Forward step 1 of 5")
    browser.switch_to.default_content()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_is_cut_off(show, text, size):
    browser = show(text, size, motion="reduce")  # scrolls at once
    inner, outer = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert inner <= outer
    # every box can be reached by scrolling its frame, and a step scrolls to its boxes
    press(browser, "backward", 1)
    box, frame = (one(browser, selector).rect for selector in (".box.now", ".scroll"))
    assert frame["x"] <= box["x"] and box["x"] <= frame["x"] + frame["width"]
    for each in all_of(browser, "button, .status, h2"):
        assert each.rect["x"] >= 0 and each.rect["x"] + each.rect["width"] <= size[0]


OVERLAPS = """
    const texts = [...document.querySelectorAll("svg text")];
    const rects = texts.map((each) => each.getBoundingClientRect());
    const found = [];
    for (let i = 0; i < rects.length; i++)
        for (let j = 0; j < i; j++) {
            const [a, b] = [rects[i], rects[j]];
            const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            if (across > 1 && down > 4)  // line boxes are higher than their letters
                found.push([texts[i].textContent, texts[j].textContent]);
        }
    for (const box of document.querySelectorAll(".box")) {
        const outer = box.querySelector(".frame").getBoundingClientRect();
        for (const text of box.querySelectorAll("text.middle:not(.small)")) {
            const inner = text.getBoundingClientRect();
            if (inner.left < outer.left || inner.right > outer.right)
                found.push([text.textContent, "its box"]);
        }
    }
    return found"""


def test_texts_do_not_overlap(show, text):
    assert show(text).execute_script(OVERLAPS) == []
    names = ["w11", "w21", "b1", "w12", "w22", "b2", "x1", "x2", "v1", "v2", "c", "t"]
    w11, w21, b1, w12, w22, b2, x1, x2, v1, v2, c, t = gates.inputs(*names)
    h1, h2 = gates.tanh(w11 * x1 + w21 * x2 + b1), gates.tanh(w12 * x1 + w22 * x2 + b2)
    f = (v1 * h1 + v2 * h2 + c - t) ** 2 / 2
    trace = f.trace(**{name: (-1) ** k * (k + 1) / 7 for k, name in enumerate(names)})
    assert show(trace.to_html()).execute_script(OVERLAPS) == []


CONTRAST = """
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => {
            v /= 255;
            return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const page = document.querySelector(".fastbp-page");
    const back = light(getComputedStyle(page).backgroundColor);
    return arguments[0].map((selector) => {
        const style = getComputedStyle(document.querySelector(selector));
        const ink = light(selector.startsWith("svg") ? style.fill : style.color);
        return Math.max(ink, back) / Math.min(ink, back);
    })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_light_and_dark(show, text, scheme):
    """A contrast of 4.5 at least: WCAG 2.2, criterion 1.4.3."""
    browser = show(text, scheme=scheme)
    texts = ["h2", ".formula", ".status", ".hint", ".legend .plus", ".legend .minus"]
    texts += ["svg text", "svg text.value", "svg text.gradient", "svg text.small"]
    for selector, contrast in zip(texts, browser.execute_script(CONTRAST, texts), strict=True):
        assert contrast >= 4.5, selector
    back = one(browser, ".fastbp-page").value_of_css_property("background-color")
    assert back == {"light": "rgba(255, 255, 255, 1)", "dark": "rgba(20, 23, 28, 1)"}[scheme]


def test_nothing_moves_for_those_who_asked_for_it(show, text):
    for motion, name in (("no-preference", "fastbp-flow"), ("reduce", "none")):
        browser = show(text, motion=motion)
        press(browser, "forward")
        assert one(browser, ".wire.now").value_of_css_property("animation-name") == name


def test_colours_are_not_the_only_difference(show, text):
    """Values are above the middle of their box, and gradients below it."""
    browser = show(text)
    for box in all_of(browser, ".box.gate"):
        middle = one(box, ".frame").rect
        middle = middle["y"] + middle["height"] / 2
        value = one(box, "text.value").rect
        assert value["y"] + value["height"] <= middle + 3  # a line box ends below its digits
        for gradient in all_of(box, "text.gradient"):
            assert gradient.rect["y"] >= middle - 1


def test_elements_have_roles_and_names(show, text):
    browser = show(text)
    assert one(browser, "svg").aria_role == "group"
    assert one(browser, "svg").accessible_name.startswith("One sample through a network 2-3-2")
    assert one(browser, ".buttons").accessible_name == "Steps"
    assert one(browser, ".status").get_attribute("aria-live") == "polite"
    for each in all_of(browser, ".box"):
        assert each.aria_role == "button" and each.accessible_name
    assert [each.accessible_name for each in all_of(browser, "button")] == [
        "Forward step",
        "Backward step",
        "Play",
        "Undo",
        "Reset",
        "Show all",
    ]
    selected = browser.execute_script(
        """getSelection().selectAllChildren(document.querySelector("svg"));
        return getSelection().toString()"""
    )
    assert "0.5" in selected
