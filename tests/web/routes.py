"""The pages that there are, from the router itself: tests that go over all of them can't forget one."""

from fastapi.routing import APIRoute

from hub.web import pages

# For a path that names a thing: one that nobody has.
NOTHING = {
    "{ticket}": "x" * 43,
    "{id}": "7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11",
    "{run}": "7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11",
    "{review}": "7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11",
    "{event}": "7b0e0f0e-6d2c-4a53-9a55-0d1d0c6a4b11",
    "{dataset}": "incidents",
    "{mou}": "MOU-NOTHERE",
    "{version}": "1",
    "{part}": "document.pdf",
    "{step}": "resume",
    "{path:path}": "site.css",
}


def routes(method: str) -> list[str]:
    """The paths of all pages that take this method, as the router has them."""
    found = [route for router in pages.routers() for route in router.routes if isinstance(route, APIRoute) and method in route.methods]
    return [route.path for route in found]


def address(path: str) -> str:
    """One address of that path."""
    for name, value in NOTHING.items():
        path = path.replace(name, value)
    assert "{" not in path, f"say in NOTHING what stands for the parameter of {path}"
    return path
