/// A module, with all that it says of itself and where it is active.
package struct ModuleView: Hashable, Sendable, Codable {
  package var name: String
  package var version: String
  package var description: String
  package var imported: Timestamp
  /// `init/all`, `ready/group/gpu`.
  package var active: [String]
  /// Where it is activated when nobody says where.
  package var roles: [String]
  /// The states that it has something for; empty where that is every state.
  package var states: [String]
  /// Nodescripts, by their paths in the module.
  package var scripts: [String]
  package var files: [File]
  package var variables: [Variable]

  package struct File: Hashable, Sendable, Codable {
    package var path: String
    /// `template`, `file`, `site` or `hostKey`, and its name.
    package var source: String
    package var owner: String
    package var mode: String
    package var states: [String]
  }

  package struct Variable: Hashable, Sendable, Codable {
    package var name: String
    package var type: VariableType
    /// What holds where nobody sets it; null where nothing does.
    @OrNull package var value: String?
    package var description: String
  }
}

/// What an activation or a deactivation did.
package struct ModuleChangeView: Hashable, Sendable, Codable {
  package var name: String
  /// Where it was activated or deactivated by this.
  package var changed: [String]
  /// Where it is active now.
  package var active: [String]
  package var warnings: [String]
}

/// A state, and what is active in it.
package struct ModuleStateView: Hashable, Sendable, Codable {
  package var state: String
  package var roles: [Role]

  package struct Role: Hashable, Sendable, Codable {
    /// `all`, `group/gpu`, `vnfs/debian-12`, `node/n0001`.
    package var level: String
    package var modules: [String]
  }
}

/// The body of `POST modules`.
package struct ImportModule: Hashable, Sendable, Codable {
  /// Where it came from, for messages.
  package var source: String
  /// A tar stream in zstd frames, in base64: module.yaml at its top, and its files.
  package var archive: String

  package init(source: String, archive: String) {
    self.source = source
    self.archive = archive
  }
}

/// The body of `POST modules/NAME/activate` and `.../deactivate`.
package struct ModuleRoles: Hashable, Sendable, Codable {
  /// `init/all`, `ready/group/gpu`; none: its own roles, or all where it is active.
  package var roles: [String]

  package init(roles: [String]) {
    self.roles = roles
  }
}
