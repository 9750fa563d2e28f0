import ConfigurationFile
package import DHCPWire
package import NetworkTypes
package import StateProtocol

/// The configuration file's values. Every key but the interface has a default.
package struct Configuration: Hashable, Sendable {
  package struct Network: Hashable, Sendable {
    /// Where nodes are: one or several.
    package var interfaces: [String]
    /// Whether to tell machines that look for an IPv6 router that there is none, where there is none.
    package var answerRouterSearch = true
  }

  package struct DHCP: Hashable, Sendable {
    package enum Mode: String, Hashable, Sendable, CaseIterable {
      /// The only DHCP server here.
      case authoritative
      /// Boot information beside someone else's DHCP server.
      case proxy
      case off
    }

    /// A network behind a relay agent.
    package struct Relayed: Hashable, Sendable {
      package var subnet: IPv4Subnet
      package var pool: IPv4Range
      package var router: IPv4Address?
      /// These three where they are set; else those of ``DHCP`` itself.
      package var mtu: Int?
      package var domainSearch: [String]?
      package var routes: [ClasslessRoute]?
    }

    package var mode = Mode.authoritative
    /// Addresses for whoever has none set aside; where `nil`, the upper half of the interface's network.
    package var pool: IPv4Range?
    package var leaseSeconds = 3600
    package var router: IPv4Address?
    package var dns: [IPv4Address] = []
    package var domain: String?
    package var ntp: [IPv4Address] = []
    /// Bytes.
    package var mtu: Int?
    package var domainSearch: [String] = []
    /// Each for the machines of the network that its router is in.
    package var routes: [ClasslessRoute] = []
    /// Whether BOOTP clients that nobody has set an address aside for get one of the pool.
    package var dynamicBOOTP = false
    /// Whether addresses are probed before they are offered.
    package var conflictProbe = true
    package var relayed: [Relayed] = []
  }

  package struct TFTP: Hashable, Sendable {
    package var port = 69
    /// Whether every packet leaves from `port`: for networks behind firewalls.
    package var singlePort = false
  }

  package struct Provisioner: Hashable, Sendable {
    package var port = 9870
    /// For files, in bytes per second: for all nodes together, and for each.
    package var rate: Int?
    package var ratePerNode: Int?
    /// Nodes that may fetch their roots at a time; 0 is any number.
    package var concurrentBoots = 0
    /// Other appliances, which nodes turn to in this order where this one does not answer.
    package var standby: [NodeRecord.Server] = []
  }

  package struct Admin: Hashable, Sendable {
    /// 0: no TCP port.
    package var port = 0
    /// Where the TCP port listens: loopback, unless somebody wants more.
    package var address = IPv4Address(127, 0, 0, 1)
  }

  package struct Paths: Hashable, Sendable {
    package var state = "/var/lib/perseid"

    package var store: String { state + "/store.sqlite" }
    package var blobs: String { state + "/blobs" }
    package var tmp: String { state + "/tmp" }
    package var controlSocket: String { state + "/control.sock" }
    package var lock: String { state + "/lock" }
    /// Capsules that are unpacked to be changed.
    package var mounts: String { state + "/mounts" }
    package var keys: String { state + "/keys" }
    package var nodescripts: String { state + "/nodescripts" }
    package var modules: String { state + "/modules" }
    /// Files of the site's own for modules, in a directory for each: keys, accounts, configuration.
    package var moduleFiles: String { state + "/modulefiles" }
    /// SSH host keys, in a directory for each node.
    package var hostKeys: String { state + "/hostkeys" }
    /// Files of the site's own, for TFTP.
    package var tftp: String { state + "/tftp" }
  }

  package struct Capsules: Hashable, Sendable {
    /// Generations of each capsule that are kept; those in use stay besides.
    package var keep = 5
    /// Whether only capsules that somebody whose key is trusted has signed may be imported.
    package var requireSignature = false
  }

  /// What becomes of a machine that boots and is no node.
  package enum Discovery: String, Hashable, Sendable, CaseIterable {
    /// It is a node at once, with the defaults.
    case add
    /// It boots into stage 1 and waits there until somebody says which node it is.
    case hold
    /// It gets nothing to boot.
    case refuse
  }

  /// What is set for one state, whatever its name.
  package struct State: Hashable, Sendable {
    /// Seconds; 0: none.
    package var deadlineSeconds: Int?
    package var next: String?
    /// Seconds between reports; where there is a next state, until that is reported.
    package var intervalSeconds: Int?
  }

  package struct States: Hashable, Sendable {
    /// Seconds between the reports of a running node.
    package var readyIntervalSeconds = 60
    /// Seconds without a report after which a running node counts as silent.
    package var silenceSeconds = 180
    /// Seconds a `.server` script may take.
    package var scriptSeconds = 10
    /// What is set for single states.
    package var named: [String: State] = [:]

    /// The state that follows by itself.
    package func next(after state: String) -> String? { named[state]?.next ?? (state == "init" ? "ready" : nil) }

    /// Seconds between reports of a state: of the one that follows `init` where that is asked for, since nothing is
    /// repeated in `init`.
    package func interval(of state: String) -> Int {
      let state = state == "init" ? next(after: state) ?? state : state
      return named[state]?.intervalSeconds ?? readyIntervalSeconds
    }

    /// Seconds to stay in a state that another one follows.
    package func pause(in state: String) -> Int? {
      state != "init" && next(after: state) != nil ? named[state]?.intervalSeconds : nil
    }

    /// Seconds after which a node that is still in this state, or in one of its steps, is stuck; `nil`: never.
    package func deadline(of state: String) -> Int? {
      let seconds = named[state]?.deadlineSeconds ?? (state == "init" ? 900 : 0)
      return seconds > 0 ? seconds : nil
    }

    /// Seconds without a report after which a node in this state is silent.
    package func silence(in state: String) -> Int { max(silenceSeconds, interval(of: state) * 3) }
  }

  package var network: Network
  package var dhcp = DHCP()
  package var tftp = TFTP()
  package var provisioner = Provisioner()
  package var admin = Admin()
  package var paths = Paths()
  package var defaults = NodeDefaults()
  package var discovery = Discovery.add
  package var states = States()
  package var capsules = Capsules()

  /// The file it was read from, for messages.
  package var file: String
  /// The lines of keys that only the running system can judge.
  var lines: [String: Int] = [:]

  /// The defaults.
  package init(interfaces: [String] = [], file: String = "the built-in configuration") {
    network = Network(interfaces: interfaces)
    self.file = file
  }

  func error(_ key: String, _ message: String) -> ConfigurationError {
    ConfigurationError(file: file, line: lines[key], key: key, message: message)
  }
}
