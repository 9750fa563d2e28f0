#!/usr/bin/python3
"""Holds a running admin API against its own OpenAPI document.

    check.py PORT TOKEN [EXAMPLES]

The document itself is looked at; then every operation is asked, first as it is meant, then with parameters and bodies
that hypothesis makes up of the document's schemas and of what is not in them. Each answer must be one that the
document has, and fit its schema; none may be of the server's own fault (5xx). The same requests each time.
"""

import http.client
import json
import sys
import urllib.parse

import jsonschema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

PORT, TOKEN = int(sys.argv[1]), sys.argv[2]
EXAMPLES = int(sys.argv[3]) if len(sys.argv) > 3 else 25
asked = 0


def ask(method, path, query=(), body=None, read=True):
    """Status, media type and content of an answer; of one that goes on only its head."""
    global asked
    asked += 1
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    headers = {"Authorization": "Bearer " + TOKEN}
    if body is not None:
        headers["Content-Type"] = "application/json"
    target = "/api/v1" + path + ("?" + urllib.parse.urlencode(query) if query else "")
    connection.request(method, target, body=body, headers=headers)
    answer = connection.getresponse()
    content = answer.read() if read or answer.status != 200 else b""
    connection.close()
    return answer.status, answer.headers.get_content_type(), content


status, media, content = ask("GET", "/openapi.json")
assert (status, media) == (200, "application/json"), (status, content)
document = json.loads(content)
schemas = document["components"]["schemas"]


def validator(schema):
    return jsonschema.Draft202012Validator(
        {**schema, "components": document["components"]}, format_checker=jsonschema.FormatChecker())


def refs(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def resolve(schema):
    return schemas[schema["$ref"].removeprefix("#/components/schemas/")] if "$ref" in schema else schema


# The document.
assert document["openapi"].startswith("3.1."), document["openapi"]
for reference in refs(document):
    assert reference.removeprefix("#/components/schemas/") in schemas, reference
for name, schema in schemas.items():
    jsonschema.Draft202012Validator.check_schema(schema)
operations = [
    (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()]
identifiers = [operation["operationId"] for _, _, operation in operations]
assert len(set(identifiers)) == len(identifiers), "two operations have one identifier"


def judge(method, path, operation, status, media, content):
    where = f"{method} {path}: {status} {content[:300]!r}"
    assert status < 500, where
    expected = operation["responses"].get(str(status)) or operation["responses"].get(f"{status // 100}XX")
    assert expected, where
    assert media in expected["content"], f"{where}: {media}"
    if media == "application/json":
        errors = sorted(map(str, validator(expected["content"][media]["schema"]).iter_errors(json.loads(content))))
        assert not errors, f"{where}\n{errors[0]}"


def goes_on(operation):
    return "application/json" not in operation["responses"]["200"]["content"]


# As it is meant: names that are there.
def names(path, key="name"):
    status, _, content = ask("GET", path)
    assert status == 200, content
    return [entry[key] for entry in json.loads(content)]


known = {"node": names("/nodes"), "group": names("/groups"), "vnfs": names("/vnfs"), "token": names("/tokens")}
for method, path, operation in operations:
    if method != "get":
        continue
    pieces = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if any(piece not in known or not known[piece] for piece in pieces):
        continue
    target = path
    for piece in pieces:
        target = target.replace("{" + piece + "}", urllib.parse.quote(known[piece][0], safe=""))
    query = [("kept", "1")] if path.endswith("/trace") else []
    status, media, content = ask("GET", target, query, read=not goes_on(operation))
    assert status == 200, f"GET {target}: {status} {content!r}"
    judge("GET", target, operation, status, media, content)

# As it is not meant.
odd_text = st.one_of(
    st.text(max_size=40), st.sampled_from(["", ".", "..", "../../etc/passwd", "n[0-9", "@", "*", "n[000000-999999]",
                                           "a" * 5000, "%", "%00", "\x00", "\u202e", "null", "52:54:00:00:00:09", "-1"]))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_text, inner, max_size=4)), max_leaves=8)


@st.composite
def values(draw, schema):
    """Values of a schema, and others in their place now and then."""
    return draw(anything if draw(st.integers(0, 4)) == 4 else meant_values(resolve(schema)))


def meant_values(schema):
    if "anyOf" in schema:
        meant = st.one_of(*map(values, schema["anyOf"]))
    elif "enum" in schema:
        meant = st.sampled_from(schema["enum"])
    else:
        match schema.get("type"):
            case "string":
                meant = st.one_of(odd_text, st.sampled_from(schema.get("examples", ["a"]) + sum(known.values(), [])))
            case "integer":
                meant = st.integers(schema.get("minimum"), schema.get("maximum"))
            case "number":
                meant = st.floats(allow_nan=False, allow_infinity=False)
            case "boolean":
                meant = st.booleans()
            case "null":
                meant = st.none()
            case "array":
                meant = st.lists(values(schema["items"]), max_size=4)
            case "object":
                properties = schema.get("properties")
                if properties is None:
                    meant = st.dictionaries(odd_text, values(schema.get("additionalProperties", {})), max_size=4)
                else:
                    required = {name: values(properties[name]) for name in schema.get("required", [])}
                    optional = {name: values(inner) for name, inner in properties.items() if name not in required}
                    whole = st.fixed_dictionaries(required, optional=optional)
                    extended = st.builds(lambda one, other: {**other, **one}, whole, st.dictionaries(odd_text, anything))
                    meant = st.one_of(whole, whole, extended)
            case _:
                meant = anything
    return meant


def fuzz(method, path, operation):
    parameters = operation.get("parameters", [])
    pieces = {p["name"]: st.one_of(odd_text, st.sampled_from(known.get(p["name"]) or ["a"]))
              for p in parameters if p["in"] == "path"}
    declared = [p["name"] for p in parameters if p["in"] == "query"]
    query = st.lists(st.tuples(st.sampled_from(declared + ["other"]) if declared else st.just("other"),
                               st.one_of(odd_text, st.integers().map(str))), max_size=3)
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = st.one_of(
            values(schema).map(lambda value: json.dumps(value).encode()), values(schema).map(lambda v: json.dumps(v).encode()),
            st.binary(max_size=200), st.just(b"[" * 20000), st.just(b'{"a":' * 20000))
    else:
        body = st.none()

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.fixed_dictionaries(pieces), query, body)
    def once(pieces, query, body):
        target = path
        for name, value in pieces.items():
            quoted = urllib.parse.quote(value.encode("utf-8", "surrogatepass"), safe="")
            target = target.replace("{" + name + "}", quoted)
        if path.endswith("/trace"):
            query = [("kept", "1")] + query
        query = [(name, value.encode("utf-8", "surrogatepass")) for name, value in query]
        status, media, content = ask(method.upper(), target, query, body, read=not goes_on(operation))
        if target.endswith("/") or "//" in target or "/./" in target + "/" or "/../" in target + "/":
            assert 400 <= status < 500, f"{method} {target}: {status}"
        elif media == "application/json" or status == 200:
            judge(method.upper(), target, operation, status, media, content)
        else:
            assert status < 500, f"{method} {target}: {status}"

    once()


for method, path, operation in operations:
    # The token that asks must stay.
    if (method, path) == ("delete", "/tokens/{token}"):
        known["token"] = []
    fuzz(method, path, operation)
print(f"{len(operations)} operations, {asked} requests: every answer is one of the document's")
