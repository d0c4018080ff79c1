"""Pages and JSON of group intro calls."""

from fastapi import APIRouter

intro_router = APIRouter()
