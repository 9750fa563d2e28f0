package import CapsuleFormat

/// The answer to a state report: what to do in that state, in order.
///
/// Carried with a Content-Digest field (RFC 9530): nothing in it is done before the whole is verified.
package struct Plan: Hashable, Sendable, Codable {
  package var version = 1
  /// The state that was reported.
  package var state: String
  package var boot: String?
  package var nodeName: String
  /// The environment of every script: STATE, NODENAME, GROUPNAME, VNFS, IPADDR, MASTER, ...
  package var environment: [String: String]
  package var steps: [Step]
  /// The state to report next, once the steps are done (`ready` after `init`); `nil` to repeat this one.
  package var nextState: String?
  /// Seconds until the state is reported again; `nil`: not at all.
  package var intervalSeconds: Int?
  /// Seconds to stay in this state before `nextState` is reported; `nil`: none.
  package var nextSeconds: Int?
  /// Instead of steps: come back in so many seconds, and say this on the console.
  package var wait: Wait?
  /// Instead of steps, in `init`: restart the machine, for this reason. What it is to boot is not what it has booted.
  package var restart: String?
  /// Other appliances that know this node, to turn to in this order where the one that answered no longer does;
  /// `nil`: it says nothing of others, and those that the node knows stay.
  package var otherServers: [NodeRecord.Server]?

  package struct Wait: Hashable, Sendable, Codable {
    package var seconds: Int
    package var reason: String

    package init(seconds: Int, reason: String) {
      self.seconds = seconds
      self.reason = reason
    }
  }

  package init(
    state: String, boot: String?, nodeName: String, environment: [String: String], steps: [Step],
    nextState: String? = nil, intervalSeconds: Int? = nil, nextSeconds: Int? = nil, wait: Wait? = nil,
    restart: String? = nil, otherServers: [NodeRecord.Server]? = nil
  ) {
    self.state = state
    self.boot = boot
    self.nodeName = nodeName
    self.environment = environment
    self.steps = steps
    self.nextState = nextState
    self.intervalSeconds = intervalSeconds
    self.nextSeconds = nextSeconds
    self.wait = wait
    self.restart = restart
    self.otherServers = otherServers
  }

  /// Largest plan that is read, in bytes.
  package static let sizeLimit = 4 << 20
}

/// One step of a plan.
package struct Step: Hashable, Sendable, Codable {
  package enum Kind: Hashable, Sendable {
    /// Run the content as a script.
    case script
    /// Put the content at `path` with `mode`.
    case file
    /// Fill the root from a capsule: the content is its frame index.
    case root
    /// Take over what is different in another generation: the content is what `TreeUpdate` applies.
    case livesync
    /// A kind of a later version: an error where it is met, before anything runs.
    case unknown(String)
  }

  /// What to do when the step fails.
  package enum FailurePolicy: String, Hashable, Sendable, Codable {
    case goOn = "continue"
    case retry
    case stop
  }

  /// The base name, which also orders the steps: `10-hostname`, `50-root`.
  package var name: String
  package var kind: Kind
  /// Where it was found: `vnfs/debian-12`, `all`, `group/gpu`, `node/n0001`, or `built-in`.
  package var level: String
  /// Bytes and digest of the content, which is at `/blobs/sha256/HEX`.
  package var length: Int64
  package var digest: Digest
  package var onFailure: FailurePolicy
  /// How often it is tried again, where `onFailure` says so.
  package var retries: Int?
  /// Kind `script`: seconds after which it is ended.
  package var timeoutSeconds: Int?
  /// Kind `file`: an absolute path in the root, and its permission bits.
  package var path: String?
  package var mode: UInt32?
  /// Kind `file`: whose it is, by name as the root's own /etc/passwd and /etc/group say, or by number; `nil`: root.
  package var owner: String?
  package var group: String?
  /// Kind `root`.
  package var root: Root?
  /// Kind `livesync`.
  package var livesync: Livesync?

  /// What a running node comes to.
  package struct Livesync: Hashable, Sendable, Codable {
    /// The capsule's manifest digest, and the number of that generation.
    package var generation: Digest
    package var number: Int
    /// A program in the root to run behind it: an absolute path.
    package var hook: String?
    /// What there is to say besides.
    package var note: String?

    package init(generation: Digest, number: Int, hook: String?, note: String?) {
      self.generation = generation
      self.number = number
      self.hook = hook
      self.note = note
    }
  }

  /// What the root is filled from.
  package struct Root: Hashable, Sendable, Codable {
    /// `ram`, `overlay`, or a mode of a later version.
    package var mode: String
    /// The capsule's manifest digest.
    package var generation: Digest
    /// The root file system blob.
    package var blob: Descriptor
    /// The same as an image to mount, an erofs file system; `nil` where there is none.
    package var image: Descriptor?
    /// Bytes of the uncompressed tar stream, and its entries.
    package var bytes: Int64
    package var entries: Int64

    package init(
      mode: String, generation: Digest, blob: Descriptor, image: Descriptor? = nil, bytes: Int64, entries: Int64
    ) {
      self.mode = mode
      self.generation = generation
      self.blob = blob
      self.image = image
      self.bytes = bytes
      self.entries = entries
    }
  }

  package init(
    name: String, kind: Kind, level: String, length: Int64, digest: Digest, onFailure: FailurePolicy,
    retries: Int? = nil, timeoutSeconds: Int? = nil, path: String? = nil, mode: UInt32? = nil, owner: String? = nil,
    group: String? = nil, root: Root? = nil, livesync: Livesync? = nil
  ) {
    self.name = name
    self.kind = kind
    self.level = level
    self.length = length
    self.digest = digest
    self.onFailure = onFailure
    self.retries = retries
    self.timeoutSeconds = timeoutSeconds
    self.path = path
    self.mode = mode
    self.owner = owner
    self.group = group
    self.root = root
    self.livesync = livesync
  }
}

extension Step.Kind: Codable {
  package init(from decoder: any Decoder) throws {
    switch try decoder.singleValueContainer().decode(String.self) {
    case "script": self = .script
    case "file": self = .file
    case "root": self = .root
    case "livesync": self = .livesync
    case let other: self = .unknown(other)
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package var text: String {
    switch self {
    case .script: "script"
    case .file: "file"
    case .root: "root"
    case .livesync: "livesync"
    case .unknown(let kind): kind
    }
  }
}
