/// The OpenAPI 3.1 document of the admin API, made from its route table.
enum OpenAPI {
  static let document: JSONValue = [
    "openapi": "3.1.0",
    "info": [
      "title": "Perseid", "version": .text(Appliance.version),
      "description": "The admin API of the network boot appliance Perseid.",
      "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
    ],
    "servers": [["url": "/api/v1"]],
    "security": [["token": []]],
    "paths": .object(paths),
    "components": [
      "securitySchemes": [
        "token": [
          "type": "http", "scheme": "bearer",
          "description": "Made with perseid token create; the unix socket needs none.",
        ]
      ],
      "schemas": .object(schemas),
    ],
  ]

  private static var paths: [String: JSONValue] {
    var paths: [String: [String: JSONValue]] = [:]
    for route in AdminRoutes.all {
      paths["/" + route.path, default: [:]][route.method.rawValue.lowercased()] = operation(route)
    }
    return paths.mapValues { .object($0) }
  }

  private static var schemas: [String: JSONValue] {
    var named = Schema(AdminFailure.self).named + Schema(TimelineEvent.self).named
    for route in AdminRoutes.all {
      if let body = route.body { named += body.named }
      if case .json(let schema) = route.reply { named += schema.named }
    }
    return Dictionary(named.map { ($0.name, $0.schema.json(isWhole: true)) }) { first, _ in first }
  }

  private static func operation(_ route: AdminRoute) -> JSONValue {
    var operation: [String: JSONValue] = [
      "operationId": .text(identifier(route)),
      "summary": .text(route.summary),
      "tags": [.text(route.path.split(separator: "/").first.map(String.init) ?? "")],
      "x-role": .text(route.role.rawValue),
      "responses": responses(route),
    ]
    let parameters = route.pieces.map(parameter) + route.query.map(parameter)
    if !parameters.isEmpty { operation["parameters"] = .list(parameters) }
    if let body = route.body {
      operation["requestBody"] = ["required": true, "content": ["application/json": ["schema": body.json()]]]
    }
    return .object(operation)
  }

  /// `getNodesTimeline`
  private static func identifier(_ route: AdminRoute) -> String {
    let pieces = route.path.split(whereSeparator: { "/.".contains($0) }).map { piece in
      piece.hasPrefix("{") ? "One" : piece.prefix(1).uppercased() + piece.dropFirst()
    }
    return route.method.rawValue.lowercased() + pieces.joined()
  }

  private static func parameter(_ piece: String) -> JSONValue {
    [
      "name": .text(piece), "in": "path", "required": true, "schema": ["type": "string"],
      "description": .text(AdminRoutes.pieces[piece] ?? ""),
    ]
  }

  private static func parameter(_ parameter: AdminParameter) -> JSONValue {
    let schema = parameter.schema.json()
    return [
      "name": .text(parameter.name), "in": "query", "required": false, "description": .text(parameter.words),
      "schema": parameter.isRepeated ? ["type": "array", "items": schema] : schema,
    ]
  }

  private static func responses(_ route: AdminRoute) -> JSONValue {
    let failure: JSONValue = ["application/json": ["schema": Schema(AdminFailure.self).json()]]
    let done: JSONValue =
      switch route.reply {
      case .json(let schema): ["description": "Done.", "content": ["application/json": ["schema": schema.json()]]]
      case .stream(let type, let words):
        ["description": .text(words), "content": .object([type: ["schema": ["type": "string"]]])]
      }
    let refusal: JSONValue = ["description": "Refused: the message says why, and what to do.", "content": failure]
    let failed: JSONValue = ["description": "The system or the disk did not do it.", "content": failure]
    return ["200": done, "4XX": refusal, "5XX": failed]
  }
}
