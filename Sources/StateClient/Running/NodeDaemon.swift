import DHCPClient
import Glibc
package import StateProtocol

/// The client in the running node: reports its state, follows the plan, comes back at the interval, and
/// keeps the lease meanwhile.
package struct NodeDaemon {
  private let record: NodeRecord
  private let lease: LeaseRecord?

  /// Reads what stage 1 left.
  package init() throws {
    do {
      record = try ProtocolJSON.decode(from: try SmallFile.read(NodeRecord.path), limit: NodeRecord.sizeLimit)
    } catch {
      throw NodeDaemonError(
        description: "\(NodeRecord.path) cannot be read: \(error). Stage 1 leaves it when a node boots; "
          + "a machine that did not boot through the appliance has none.")
    }
    // Without a lease (a static address, a lost file) there is nothing to renew; the state is still told.
    lease = (try? SmallFile.read(LeaseRecord.path)).flatMap {
      try? ProtocolJSON.decode(LeaseRecord.self, from: $0, limit: NodeRecord.sizeLimit)
    }
  }

  package init(record: NodeRecord, lease: LeaseRecord?) {
    self.record = record
    self.lease = lease
  }

  /// Runs until it is told to end: SIGTERM ends the process, which holds nothing that needs tidying.
  package func run() throws {
    let record = record
    let lease = lease
    try ThreadScope.run { scope in
      if let lease {
        try scope.start("lease") { Self.keepLease(lease, of: record) }
      }
      Self.followStates(of: record)
    }
  }

  private static func keepLease(_ lease: LeaseRecord, of record: NodeRecord) {
    guard let card = record.hardwareAddresses.first else { return }
    var keeper = LeaseKeeper(
      AcquiredLease(lease),
      actions: .init(
        interface: record.interface, hardwareAddress: card, clientIdentifier: record.clientIdentifier,
        say: { Journal.say($0) }),
      say: { Journal.say($0) })
    while true {
      keeper.attend(at: Clock.bootTime)
      Clock.sleep(min(max(keeper.dueAt - Clock.bootTime, 0.1), 3600))
    }
  }

  private static func followStates(of record: NodeRecord) {
    var follower = StateFollower(record)
    while true { Clock.sleep(follower.turn()) }
  }

  /// Set for every script of a plan.
  static let planVariable = "PERSEID_PLAN"

  /// Reports one state once, follows its plan: `perseid-node state WORD`.
  package func report(_ state: String) throws {
    guard Self.isState(state) else {
      throw NodeDaemonError(
        description: "'\(state)' is no state: lower-case letters, digits, '-' and '_', at most 32, a letter first")
    }
    guard getenv(Self.planVariable) == nil else {
      throw NodeDaemonError(
        description: "this is a script of a plan, and one plan is followed at a time: state '\(state)' would wait for "
          + "the plan that waits for this script. Let the appliance's configuration name it as the next state")
    }
    var follower = StateFollower(record)
    let plan = try follower.report(state)
    if let wait = plan.wait {
      throw NodeDaemonError(
        description: "\(follower.server) says to wait \(wait.seconds) s: \(wait.reason). Report '\(state)' again then")
    }
    Journal.say("state '\(state)' accepted by \(follower.server), \(plan.steps.count) steps done", .notice)
  }

  package static func isState(_ word: String) -> Bool {
    let bytes = Array(word.utf8)
    guard let first = bytes.first, bytes.count <= 32, (0x61...0x7A).contains(first) else { return false }
    return bytes.allSatisfy { byte in
      (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x5F
    }
  }
}

/// Why the client cannot work here.
package struct NodeDaemonError: Error, Hashable, Sendable, CustomStringConvertible {
  package var description: String
}
