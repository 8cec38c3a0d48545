"""All settings: environment variables QRERANK_…, nested with two underscores. Only main and the CLI read them."""

from app.settings.models import MapName, RemoteSettings
from app.settings.operations import LogSettings, TracingSettings
from app.settings.search import FirstStageSettings, IndexSettings
from app.settings.serving import OWN_PATHS, EngineSettings, LimitSettings, PageSettings, ServerSettings
from app.settings.settings import Settings
from app.settings.values import NAME_RULE, CollectionName, is_collection_name

__all__ = [
    "NAME_RULE",
    "OWN_PATHS",
    "CollectionName",
    "EngineSettings",
    "FirstStageSettings",
    "IndexSettings",
    "LimitSettings",
    "LogSettings",
    "MapName",
    "PageSettings",
    "RemoteSettings",
    "ServerSettings",
    "Settings",
    "TracingSettings",
    "is_collection_name",
]
