"""Whether bytes can be a JPEG, by how they begin and end."""

BEGIN, END = b"\xff\xd8\xff", b"\xff\xd9"


def jpeg_problem(data: bytes) -> str:
    """What is wrong; empty when it looks like a JPEG.

    Args:
        data: the encoded image; zeros behind its end are padding.
    """
    if not data:
        return "it is empty"
    if not data.startswith(BEGIN):
        return f"it begins with {data[:4].hex()}"
    whole = data.rstrip(b"\0")
    return "" if whole.endswith(END) else f"it ends with {whole[-4:].hex()}"
