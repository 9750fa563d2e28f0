import CapsuleFormat

/// What a tree says of the capsule it is to be: the file `/etc/perseid/capsule.yaml` in it. All of it is optional.
package struct CapsuleSettings: Hashable, Sendable {
  /// Where things of ours are in a tree.
  package static let directory = "etc/perseid"
  package static let path = "etc/perseid/capsule.yaml"

  /// Programs in the tree that the appliance runs in the capsule's life, in a chroot of it.
  package enum Hook: String, Hashable, Sendable, CaseIterable {
    case configure, mount, umount, close, livesync
  }

  package enum RootMode: String, Hashable, Sendable, CaseIterable {
    case ram, overlay
  }

  /// Names to add to what is chosen by itself, and to leave out of it.
  package struct Selection: Hashable, Sendable {
    package var add: [String] = []
    package var omit: [String] = []

    package init(add: [String] = [], omit: [String] = []) {
      self.add = add
      self.omit = omit
    }
  }

  package var name: String?
  package var version: String?
  /// `amd64` or `arm64`.
  package var architecture: String?
  /// The release of the kernel to take.
  package var kernel: String?
  /// Words for the kernel command line.
  package var kernelArguments = ""
  /// Modules of the initramfs, by name.
  package var modules = Selection()
  /// Files and directories below the firmware directory.
  package var firmware = Selection()
  /// How a node can have its root, the default first; `nil` leaves it to the builder.
  package var rootModes: [RootMode]?
  /// A directory of the tree with `STATE/NN-name` in it.
  package var nodescripts = "\(directory)/nodescripts"
  /// Paths in the tree. Those not named are looked for as `etc/perseid/hooks/NAME`.
  package var hooks: [Hook: String] = [:]
  /// What a hook may take, in seconds.
  package var hookSeconds = 3600
  /// Paths that running nodes keep as they are: `/etc/fstab`, `/var/log/*`.
  package var livesyncSkip: [String] = []
  /// The lines of keys that only the tree can judge.
  var lines: [String: Int] = [:]

  package init() {}

  /// Where a hook is in the tree, if it is there.
  package func path(of hook: Hook) -> String { hooks[hook] ?? "\(Self.directory)/hooks/\(hook.rawValue)" }
}
