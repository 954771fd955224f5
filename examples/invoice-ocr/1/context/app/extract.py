"""Prints the amounts that a scanned invoice names: extract.py SCAN..."""
import re
import sys

import pytesseract
from PIL import Image

AMOUNT = re.compile(r"\b\d{1,3}(?:[.,]\d{3})*[.,]\d{2}\b")


def amounts(path):
    with Image.open(path) as scan:
        return AMOUNT.findall(pytesseract.image_to_string(scan, lang="eng+deu"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, *amounts(name))
