package import DHCPClient
import Glibc
import NetworkTypes
package import StateClient
package import StateProtocol

/// One boot as stage 1 knows it so far: each step reads what the ones before it found.
///
/// For use by one thread.
package final class Boot {
  package var commandLine = KernelCommandLine("")
  package var console: Console
  package var modules: ModuleLoader?
  /// The card that booted, once it is found.
  package var card: NetworkCard?
  package var cards: [NetworkCard] = []
  /// What carries the address: the card, or a bond or a VLAN on it.
  package var interface: String?
  /// Cards with a carrier on whose network no address was to be had: others are tried before them.
  var cardsWithoutAnswer: Set<String> = []
  package var lease: AcquiredLease? { leaseKeeper?.lease }
  private var leaseKeeper: LeaseKeeper?
  package var plan: Plan? {
    didSet {
      // A new try has no plan yet, and knows the others all the same.
      if let others = plan?.otherServers { namedServers = others.prefix(NodeRecord.serverLimit).map(Endpoint.init) }
    }
  }
  /// Appliances that the last plan has named.
  private var namedServers: [Endpoint] = []
  package let interfaces: any InterfaceControl
  /// When stage 1 began, in seconds since the kernel did.
  private let startedAt: Double
  private var hasToldStart = false
  /// Where the node's root is filled.
  package let newRoot = "/newroot"
  private var client: StateClient?
  /// The appliance that was turned to; `nil`: the first.
  private var current: Endpoint?
  private var reporter = EventReporter()

  package init(
    console: Console, interfaces: any InterfaceControl = KernelInterfaces(), startedAt: Double = Clock.bootTime
  ) {
    self.console = console
    self.startedAt = startedAt
    self.interfaces = interfaces
  }

  /// The appliances: of the kernel command line, else whoever gave the address; then those that a plan has named.
  package var servers: [Endpoint] {
    let first =
      commandLine.servers.isEmpty
      ? lease.flatMap { $0.serverIdentifier == .any ? nil : [Endpoint(address: $0.serverIdentifier)] } ?? []
      : commandLine.servers
    return first + namedServers.filter { !first.contains($0) }
  }

  /// The appliance that is asked.
  package var server: Endpoint? { current ?? servers.first }

  /// Every appliance, `first` before the others.
  func servers(first: Endpoint) -> [Endpoint] { [first] + servers.filter { $0 != first } }

  /// Runs `body` with the connection to the appliance, which is kept from one use to the next.
  package func withClient<Result>(_ body: (inout StateClient) throws -> Result) throws -> Result {
    guard let server else {
      throw StepFailure(
        what: "no appliance is known: no perseid.server= on the kernel command line, and no address yet",
        canRetry: true)
    }
    var client = self.client.take() ?? StateClient(server: server)
    do {
      let result = try body(&client)
      self.client = consume client
      return result
    } catch {
      self.client = consume client
      throw error
    }
  }

  /// Turns to the next appliance of the list, where there is another.
  func turnToNextServer() {
    let servers = servers
    guard servers.count > 1, let server else { return }
    let next = servers[((servers.firstIndex(of: server) ?? -1) + 1) % servers.count]
    current = next
    client = nil
    say("  the next appliance to be asked is \(next)")
  }

  /// The machine has an address; `actions` are what keeps it.
  package func hold(_ lease: AcquiredLease, actions: LeaseKeeper.Actions) {
    leaseKeeper = LeaseKeeper(lease, actions: actions, say: { [unowned self] in say($0) })
  }

  /// Asks for more time where that is due. Called again and again by whatever may take longer than a lease.
  package func keepLease(now: Double = Clock.bootTime) {
    guard var keeper = leaseKeeper, keeper.dueAt <= now else { return }
    keeper.attend(at: now)
    leaseKeeper = keeper
  }

  /// Waits, and keeps the lease meanwhile.
  package func wait(seconds: Double) {
    let end = Clock.bootTime + seconds
    while true {
      keepLease()
      let now = Clock.bootTime
      guard now < end else { return }
      Clock.sleep(min(end, max(leaseKeeper?.dueAt ?? end, now + 0.1)) - now)
    }
  }

  package func say(_ line: String) { console.say(line) }

  /// A line for whoever looks for a fault: `perseid.debug=1` shows what each step finds, 2 the drivers and the kernel's
  /// own messages too, 3 also the plan in full.
  package func debug(_ line: @autoclosure () -> String, level: Int = 1) {
    if commandLine.debug >= level { console.say("  \(line())") }
  }

  private var header: EventReport {
    EventReport(
      state: "init", boot: commandLine.boot,
      hardwareAddresses: NetworkCard.addresses(first: card?.hardwareAddress, of: cards), events: [])
  }

  /// Keeps an event and sends it as soon as there is a way.
  package func report(_ event: StepEvent) {
    reporter.add(event)
    flush()
  }

  /// The same while a plan is followed, which holds the connection.
  func report(_ event: StepEvent, through client: inout StateClient) {
    reporter.add(event)
    reporter.flush(header, through: &client)
  }

  /// Keeps an event until the next one is sent: nothing is worth a round trip each before the state is told.
  func keep(_ event: StepEvent) { reporter.add(event) }

  /// Says, and keeps for the appliance, how long it took until the appliance had the state: once, for the first time.
  package func tellStart(now: Double = Clock.bootTime) {
    guard !hasToldStart else { return }
    hasToldStart = true
    let seconds = max(0, now - startedAt)
    let words =
      "state init was told \(milliseconds(seconds)) ms after stage 1 began, and the kernel "
      + "\(milliseconds(startedAt)) ms before that"
    keep(StepEvent(step: "stage-1", outcome: .done, seconds: seconds, detail: words))
    say(words)
  }

  func flush() {
    guard lease != nil else { return }
    do {
      try withClient { client in
        if let error = reporter.flush(header, through: &client) { debug("events were not sent: \(error)") }
      }
    } catch {
      debug("events were not sent: \(error)")
    }
  }
}

/// For a person. A clock never shows so much that it would not fit; a figure from elsewhere could.
func milliseconds(_ seconds: Double) -> Int { Int(exactly: (seconds * 1000).rounded()) ?? 0 }

/// A step failed behind the point from which nothing can be tried again: the machine has to restart.
package struct NoWayBack: Error, Hashable, Sendable {
  package var reason: String

  package init(reason: String) {
    self.reason = reason
  }
}

/// The appliance wants the machine to restart: what it is to boot is not what it has booted.
package struct RestartNeeded: Error, Hashable, Sendable {
  package var reason: String

  package init(reason: String) {
    self.reason = reason
  }
}

/// A step of stage 1 that failed: what it wanted, what it got, and whether trying again can help.
package struct StepFailure: Error, Hashable, Sendable, CustomStringConvertible {
  package var what: String
  package var canRetry: Bool

  package init(what: String, canRetry: Bool) {
    self.what = what
    self.canRetry = canRetry
  }

  package var description: String { what }
}
