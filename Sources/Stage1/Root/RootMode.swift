package import StateClient
package import StateProtocol

/// A way for a node to have its root. Each is one file.
package protocol RootMode: Sendable {
  /// As the plan names it.
  static var name: String { get }
  /// Mounts and fills `boot.newRoot`; anything of an earlier try is gone first.
  static func fill(
    _ step: Step, _ root: Step.Root, boot: Boot, through client: inout StateClient
  ) throws
}

package enum RootModes {
  package static let all: [any RootMode.Type] = [RamRoot.self, OverlayRoot.self]

  package static var names: [String] { all.map { $0.name } }

  package static func mode(named name: String) -> (any RootMode.Type)? {
    all.first { $0.name == name }
  }
}
