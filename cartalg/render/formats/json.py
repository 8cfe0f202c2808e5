"""JSON to rebuild an object from, exactly: rationals are texts like "3/4"."""

import json

from cartalg.render.document import Document


def write(document: Document) -> str:
    """The data of a document, with its kind."""
    return json.dumps({"kind": document.kind, **document.data}, indent=1, ensure_ascii=False)
