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
      actions: .init(interface: record.interface, hardwareAddress: card, say: { Journal.say($0) }),
      say: { Journal.say($0) })
    while true {
      keeper.attend(at: Clock.bootTime)
      Clock.sleep(min(max(keeper.dueAt - Clock.bootTime, 0.1), 3600))
    }
  }

  private static func followStates(of record: NodeRecord) {
    var state = record.nextState
    var interval = record.intervalSeconds
    var isAccepted = false
    var hops = 0
    var backoff = Backoff(first: 1, longest: 60)
    var client = StateClient(server: Endpoint(address: record.server, port: record.port))
    var reporter = EventReporter()
    while true {
      var wait: Double
      do {
        let plan = try exchange(state, record, &reporter, through: &client)
        if !isAccepted {
          ServiceManager.notify("READY=1\nSTATUS=state \(state) accepted by \(client.server)\n")
          Journal.say("state '\(state)' accepted by \(client.server)")
          isAccepted = true
        }
        backoff.reset()
        interval = plan.intervalSeconds ?? interval
        wait = Double(max(interval ?? 300, 1))
        if let pause = plan.wait {
          Journal.say("the appliance says to wait \(pause.seconds) s: \(pause.reason)")
          wait = Double(pause.seconds)
        } else if let next = plan.nextState, next != state {
          state = next
          hops += 1
          // States that lead to one another without a pause must not keep node and appliance busy.
          wait = hops > 16 ? wait : Double(plan.nextSeconds ?? 0)
        } else {
          hops = 0
        }
        // Nodes that were started together drift apart.
        wait *= Double.random(in: 0.9...1.1)
      } catch {
        wait = backoff.next()
        Journal.say("state '\(state)': \(error)")
        Journal.say("  reported again in \(Int(wait.rounded(.up))) s")
      }
      Clock.sleep(wait)
    }
  }

  /// Reports one state and follows its plan. One plan at a time: a lock keeps a second client waiting.
  static func exchange(
    _ state: String, _ record: NodeRecord, _ reporter: inout EventReporter, through client: inout StateClient
  ) throws -> Plan {
    let lock = try OpenFile("/run/perseid/client.lock", flags: O_RDWR | O_CREAT, mode: 0o600)
    try check("lock /run/perseid/client.lock") { flock(lock.descriptor, LOCK_EX) }
    defer { _ = lock.descriptor }
    let current = (try? SmallFile.read(LeaseRecord.path)).flatMap {
      try? ProtocolJSON.decode(LeaseRecord.self, from: $0, limit: NodeRecord.sizeLimit)
    }
    let report = StateReport(
      state: state, boot: record.boot, hardwareAddresses: record.hardwareAddresses, address: current?.address,
      facts: MachineFacts.read(generation: record.generation))
    let plan = try client.report(report)
    guard plan.wait == nil else { return plan }
    var runner = PlanRunner(host: RunningNode(record: record, state: state, reporter: reporter))
    defer { reporter = runner.host.reporter }
    try runner.follow(plan, through: &client)
    runner.host.flush(through: &client)
    return plan
  }

  /// Reports one state once, follows its plan: `perseid-node state WORD`.
  package func report(_ state: String) throws {
    let bytes = Array(state.utf8)
    guard !bytes.isEmpty, bytes.count <= 64,
      bytes.allSatisfy({ byte in
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x2D || byte == 0x5F
      })
    else {
      throw NodeDaemonError(
        description: "'\(state)' is no state: lower-case letters, digits, '-' and '_', at most 64 of them")
    }
    var client = StateClient(server: Endpoint(address: record.server, port: record.port))
    var reporter = EventReporter()
    let plan = try Self.exchange(state, record, &reporter, through: &client)
    Journal.say("state '\(state)' accepted by \(client.server), \(plan.steps.count) steps done")
  }
}

/// Why the client cannot work here.
package struct NodeDaemonError: Error, Hashable, Sendable, CustomStringConvertible {
  package var description: String
}
