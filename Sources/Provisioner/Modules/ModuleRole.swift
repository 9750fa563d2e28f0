import CapsuleFormat

/// Where a module is activated: for the nodes of a level, in a state: `init/all`, `ready/group/gpu`.
package struct ModuleRole: Hashable, Sendable, Comparable, CustomStringConvertible {
  package var state: String
  /// `all`, `group/gpu`, `vnfs/debian-12` or `node/n0001`.
  package var level: String

  package init(state: String, level: String) {
    self.state = state
    self.level = level
  }

  package static let allowed =
    "STATE/all, STATE/group/NAME, STATE/vnfs/NAME or STATE/node/NAME, such as init/all or ready/group/gpu"

  /// `nil` where the text is none.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let state = parts.first, NodeName.isValidState(state) else { return nil }
    self.state = state
    switch (parts.count, parts.dropFirst().first) {
    case (2, "all"): break
    case (3, "group"), (3, "vnfs"): guard NodeName.isValidLabel(parts[2]) else { return nil }
    case (3, "node"): guard NodeName.isValid(parts[2]) else { return nil }
    default: return nil
    }
    level = parts.dropFirst().joined(separator: "/")
  }

  /// - Throws: `ApplianceError` with code `invalid`.
  package static func parse(_ text: String) throws -> ModuleRole {
    guard let role = ModuleRole(text) else {
      throw ApplianceError(
        .invalid, "'\(printable(text, 100))' is not where a module can be activated; allowed is \(allowed).")
    }
    return role
  }

  /// The capsule for whose nodes it is.
  package var vnfs: String? { named("vnfs/") }
  /// The one node for which it is.
  package var node: String? { named("node/") }

  private func named(_ kind: String) -> String? { level.hasPrefix(kind) ? String(level.dropFirst(kind.count)) : nil }

  package var description: String { "\(state)/\(level)" }

  package static func < (left: ModuleRole, right: ModuleRole) -> Bool { left.description < right.description }
}
