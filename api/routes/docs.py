"""The API's documentation as a page, served whole from here."""

from fastapi import APIRouter, Request, Response

from api.dashboard.render import page

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def docs(request: Request) -> Response:
    """Swagger UI on this server's own description."""
    return page(request, "docs.html", None)
