"""What a Space offers: its endpoints, as ``qvq_wrapper.endpoints`` returns them."""

from __future__ import annotations

from ..question.media import Picture
from ..question.options import Access, Limits, Question
from ..types import EndpointInfo, ParameterInfo
from .connection import Connection, KeptClient
from .endpoint import Endpoint, Parameter, named_endpoints
from .failures import from_exception
from .space import space_at


def find_offers(access: Access, limits: Limits) -> list[EndpointInfo]:
    """Return the Space's endpoints that have a name. Blocks until the Space has answered.

    Raises:
        ResponseError: the Space could not be asked.
    """
    try:
        space = space_at(access)
        # A connection of its own: one that is kept could end now, and nothing is tried again here.
        connection = Connection(access, KeptClient(access), limits)
        try:
            info = space.info(connection)
        finally:
            space.release(connection)
        question = Question(access, "", False, "What is this?", Picture(), {}, {})
        return [_describe(each, question)
                for each in named_endpoints(info.config, info.api).values()]
    except Exception as error:
        raise from_exception(error) from None


def _describe(endpoint: Endpoint, question: Question) -> EndpointInfo:
    problem = endpoint.problem(question)
    picture, prompt = (each.name if each else None for each in endpoint.places(question))
    parameters = tuple(map(_describe_parameter, endpoint.parameters))
    return EndpointInfo(endpoint.name, not problem, problem, picture, prompt, parameters)


def _describe_parameter(each: Parameter) -> ParameterInfo:
    kind = str(each.info["python_type"]["type"])
    default = each.default if each.has_default else None
    return ParameterInfo(each.name, each.kind, kind, not each.has_default, default)
