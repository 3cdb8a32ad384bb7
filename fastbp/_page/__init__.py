"""Pictures of graphs, as pages that need nothing else: one HTML text with SVG, style and script.

`Picture` describes what is to be seen, without saying what it is: boxes, wires and steps. `layout`
finds places for them, `fragment` and `document` write the page.
"""
