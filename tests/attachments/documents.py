"""Documents of every kind, made by the libraries that own the formats where those are not simple."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from io import BytesIO
from typing import Any

OFFICE = "application/vnd.openxmlformats-officedocument"
OPEN = "application/vnd.oasis.opendocument"
TYPES = {
    "pdf": "application/pdf",
    "docx": f"{OFFICE}.wordprocessingml.document",
    "xlsx": f"{OFFICE}.spreadsheetml.sheet",
    "pptx": f"{OFFICE}.presentationml.presentation",
    "odt": f"{OPEN}.text",
    "ods": f"{OPEN}.spreadsheet",
    "odp": f"{OPEN}.presentation",
    "rtf": "application/rtf",
    "epub": "application/epub+zip",
    "csv": "text/csv",
    "txt": "text/plain",
    "html": "text/html",
    "md": "text/markdown",
    "json": "application/json",
    "xml": "application/xml",
    "zip": "application/zip",
}


def saved(save: Callable[[BytesIO], Any]) -> bytes:
    file = BytesIO()
    save(file)
    return file.getvalue()


def archive(files: Mapping[str, str | bytes]) -> bytes:
    def save(file: BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in files.items():
                made.writestr(name, content)

    return saved(save)


def with_part(document: bytes, name: str, content: str | bytes) -> bytes:
    """A zipped document with another content of one of its files."""
    with zipfile.ZipFile(BytesIO(document)) as found:
        return archive({each: content if each == name else found.read(each) for each in found.namelist()})


def pdf(text: str, pages: int = 1, password: str | None = None) -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    file = BytesIO()
    canvas = Canvas(file, encrypt=StandardEncryption(password) if password else None)
    for number in range(pages):
        for line, words in enumerate(text.splitlines()):
            canvas.drawString(50, 800 - 14 * line, words)
        canvas.drawString(50, 30, f"page {number}")
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def docx(text: str) -> bytes:
    import docx

    document = docx.Document()
    document.add_paragraph(text)
    return saved(document.save)


def xlsx(text: str) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append([text, 17.5])
    return saved(book.save)


def pptx(text: str) -> bytes:
    import pptx

    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[0])
    slide.shapes.title.text = text
    return saved(show.save)


def odt(text: str) -> bytes:
    from odf.opendocument import OpenDocumentText
    from odf.text import P

    document = OpenDocumentText()
    document.text.addElement(P(text=text))
    return saved(document.write)


def ods(text: str) -> bytes:
    from odf.opendocument import OpenDocumentSpreadsheet
    from odf.table import Table, TableCell, TableRow
    from odf.text import P

    document, table, row, cell = OpenDocumentSpreadsheet(), Table(name="first"), TableRow(), TableCell()
    cell.addElement(P(text=text))
    row.addElement(cell)
    table.addElement(row)
    document.spreadsheet.addElement(table)
    return saved(document.write)


def odp(text: str) -> bytes:
    from odf.draw import Frame, Page, TextBox
    from odf.opendocument import OpenDocumentPresentation
    from odf.style import MasterPage, PageLayout
    from odf.text import P

    document, layout = OpenDocumentPresentation(), PageLayout(name="layout")
    document.automaticstyles.addElement(layout)
    master = MasterPage(name="master", pagelayoutname=layout)
    document.masterstyles.addElement(master)
    page, frame, box = Page(masterpagename=master), Frame(width="10cm", height="3cm"), TextBox()
    box.addElement(P(text=text))
    frame.addElement(box)
    page.addElement(frame)
    document.presentation.addElement(page)
    return saved(document.write)


def rtf(text: str) -> bytes:
    letters = "".join(c if c.isascii() else f"\\u{ord(c)}?" for c in text)
    return f"{{\\rtf1\\ansi\\ansicpg1252{{\\fonttbl{{\\f0 Arial;}}}}\\f0 {letters}\\par}}".encode("ascii")


def epub(text: str) -> bytes:
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    return archive(
        {
            "mimetype": TYPES["epub"],
            "META-INF/container.xml": f'<container version="1.0" xmlns="{container}"><rootfiles><rootfile'
            ' full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
            "book.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">1</dc:identifier>'
            "<dc:title>A book</dc:title><dc:language>en</dc:language></metadata><manifest>"
            '<item id="one" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="one"/></spine></package>',
            "one.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>One</title></head>'
            f"<body><p>{text}</p></body></html>",
        }
    )


MAKERS: dict[str, Callable[[str], bytes]] = {
    "pdf": pdf,
    "docx": docx,
    "xlsx": xlsx,
    "pptx": pptx,
    "odt": odt,
    "ods": ods,
    "odp": odp,
    "rtf": rtf,
    "epub": epub,
    "csv": lambda text: f"number;what\r\n1;{text}\r\n".encode("cp1252"),
    "txt": lambda text: text.encode("utf-16"),
    "html": lambda text: f"<html><script>hidden()</script><p>{text}</p>".encode(),
    "md": lambda text: f"# {text}\n".encode(),
    "json": lambda text: f'{{"what": "{text}"}}'.encode(),
    "xml": lambda text: f'<?xml version="1.0" encoding="iso-8859-1"?><a><b>{text}</b></a>'.encode("latin-1"),
    "zip": lambda text: archive({f"papers/{text}.bin": b"\0"}),
}


def mail(*documents: tuple[str, bytes], subject: str = "with papers", inside: bool = False) -> bytes:
    """A message with attachments, (name, content) each, perhaps all of them in a message inside of it."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.org", "b@example.org", subject
    made["Date"] = "Mon, 02 Jan 2023 03:04:05 +0000"
    made.set_content("see the papers\n")
    for name, content in documents:
        kind = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        main, _, sub = kind.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name)
    if inside:
        outer = EmailMessage()
        outer["From"], outer["Subject"] = "c@example.org", "forwarded"
        outer.set_content("as promised\n")
        outer.add_attachment(made)
        made = outer
    return made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
