/// All that the admin API answers: each route calls one method of the appliance, and its answer is JSON.
///
/// A new request is one more entry here; nothing else knows of it. A refusal is an `AdminFailure`.
enum AdminRoutes {
  static let all: [AdminRoute] = appliance + nodes + groups + capsules + modules + tokens

  /// What the OpenAPI document says of each `{name}` in a path.
  static let pieces: [String: String] = [
    "node": "The node's name.", "group": "The group's name.", "vnfs": "The capsule's name.",
    "token": "The token's name.", "module": "The module's name.",
  ]
}
