/// How a root file system is made: what `perseid vnfs build` reads.
package struct Recipe: Hashable, Sendable {
  package enum Base: Hashable, Sendable {
    /// By mmdebstrap.
    case debian(Debian)
    /// By dnf.
    case rpm(RPM)
    /// Anything that can be imported: the image of a container, a directory, an archive.
    case source(String)
  }

  package struct Debian: Hashable, Sendable {
    package var suite: String
    /// Addresses of mirrors, or whole lines of sources.list(5); empty for what APT itself uses.
    package var mirrors: [String] = []
    package var components = ["main"]
    package var variant = "minbase"

    package init(suite: String) {
      self.suite = suite
    }
  }

  package struct RPM: Hashable, Sendable {
    package var release: String
    /// Their addresses; there is one at least, and none of the host's is used.
    package var repositories: [String]
    /// Files and addresses of OpenPGP keys, one of which every package must be signed with; `nil` where signatures are
    /// not looked at.
    package var keys: [String]?

    package init(release: String, repositories: [String], keys: [String]?) {
      self.release = release
      self.repositories = repositories
      self.keys = keys
    }
  }

  package struct File: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
      case text(String)
      /// A path of the host, beside the recipe where it is relative.
      case source(String)
      case link(String)
    }

    /// In the tree, without the first `/`.
    package var path: String
    package var content: Content
    /// `USER:GROUP`, by name or number of the tree.
    package var owner: String?
    package var mode: UInt32?
  }

  package var base: Base
  package var name: String?
  package var packages: [String] = []
  package var files: [File] = []
  /// Each is a script of the tree's own shell, run in order, in the tree.
  package var commands: [String] = []
  /// Text for the tree's /etc/perseid/capsule.yaml.
  package var capsule: String?
  /// Seconds that one step may take.
  package var stepSeconds = 3600
  /// What messages call it: `the recipe compute.yaml`.
  package var title: String
  /// The recipe itself, which the capsule keeps.
  package var text: String
  /// Its directory, which relative paths in it begin at.
  package var directory: String
}
