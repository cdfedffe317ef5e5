# azure-identity and azure-keyvault-* of Debian's python3-azure as their users set them up, and how a program here shows
# what it got. Argument of every program, as JSON: {url, readyFile, chapters}, and where wanted {principal} (the
# administrator else) and whatever the program itself asks for.
import base64
import json
import sys

from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential

wish = json.loads(sys.argv[1])
with open(wish["readyFile"], encoding="utf-8") as file:
    ready = json.load(file)
principal = wish.get("principal") or ready["admin"]
url = wish["url"]

# The tenant "adfs" is what makes an authority work that is not Microsoft's.
credential = ClientSecretCredential(
    "adfs", principal["clientId"], principal["clientSecret"], authority=ready["controlPlane"]
)


def to_text(value):
    return None if value is None else base64.b64encode(bytes(value)).decode()


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


def failure(work, *arguments, **named):
    """How some work failed; None when it did not."""
    try:
        work(*arguments, **named)
    except HttpResponseError as error:
        return {
            "status": error.status_code,
            "code": error.error.code if error.error else None,
            "message": error.message,
            "kind": type(error).__name__,
        }
    except Exception as error:  # the program tells, the test judges
        return {"message": f"{type(error).__name__}: {error}"}
    return None


def tell(book):
    """Works through the chapters that were asked for, in their order, and prints what they found."""
    print(json.dumps({chapter: book[chapter]() for chapter in wish["chapters"]}))
