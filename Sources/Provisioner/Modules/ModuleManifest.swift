/// What a module says of itself, in its module.yaml.
package struct ModuleManifest: Hashable, Sendable {
  package var name: String
  package var version: String
  package var description: String
  /// Where it is activated when nobody says where.
  package var roles: [ModuleRole]
  package var variables: [Variable]
  package var files: [File]

  /// A variable of nodes and groups that the module reads.
  package struct Variable: Hashable, Sendable {
    package var name: String
    package var type: VariableType
    /// `nil`: unset, where nobody sets it.
    package var value: String?
    package var description: String
  }

  /// A file that nodes get.
  package struct File: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
      /// A mustache template of the module's, rendered for the node.
      case template(String)
      /// A file of the module's as it is.
      case file(String)
      /// A file that the administrator puts into `<state>/modulefiles/MODULE/`.
      case site(String)
      /// The node's own SSH host key (Ed25519), made once and kept; its public half where `isPublic`.
      case hostKey(isPublic: Bool)
    }

    package var path: String
    package var source: Source
    package var mode: UInt32
    package var owner: String
    package var group: String
    /// In which states; empty: in each that the module is activated for.
    package var states: [String]
    /// The two digits that its step's name begins with.
    package var order: Int
    /// Whether it is left out where the site's file, or a variable of the template, is not there.
    package var isOptional: Bool

    /// `55-etc-hosts`.
    package var step: String {
      let name = path.split(separator: "/").joined(separator: "-")
      return (order < 10 ? "0\(order)-" : "\(order)-") + name.suffix(150)
    }

    package func isFor(_ state: String) -> Bool { states.isEmpty || states.contains(state) }
  }

  /// At most 32 of a-z, 0-9, `-` and `_`, a letter first.
  package static func isValid(name: String) -> Bool { NodeName.isValidState(name) }

  package static let nameAllowed = "at most 32 of a-z, 0-9, '-' and '_', a letter first"
}
