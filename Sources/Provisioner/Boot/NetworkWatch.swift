package import DHCP
package import NetworkTypes
import Synchronization

/// What DHCP found on the network that should not be there, and what it counted: for `watch`, `info` and `doctor`.
package final class NetworkWatch: Sendable {
  private let ledger: BootLedger
  private let timeline: Timeline
  private let state = Mutex(State())

  private struct State {
    var counters: [(interface: String, read: @Sendable () -> DHCPStatistics)] = []
    var servers: [OtherServer: Timestamp] = [:]
    var conflicts: [AddressConflict: Timestamp] = [:]
  }

  /// What is remembered of each kind; the latest stay.
  private static let limit = 64

  package init(ledger: BootLedger, timeline: Timeline) {
    self.ledger = ledger
    self.timeline = timeline
  }

  /// Where the counts of an interface are read.
  package func count(_ interface: String, _ read: @escaping @Sendable () -> DHCPStatistics) {
    state.withLock { $0.counters.append((interface, read)) }
  }

  /// Another DHCP server was heard. Returns at once.
  package func heard(_ server: OtherServer, now: Moment = .now) {
    state.withLock { state in
      state.servers[server] = now.time
      Self.trim(&state.servers)
    }
    ledger.record(
      server.card, .dhcp, "other server",
      "another DHCP server, \(server.address), answers from the card \(server.card): machines may get wrong addresses",
      now: now)
  }

  /// A stranger uses an address of the pool. Returns at once.
  package func found(_ conflict: AddressConflict, now: Moment = .now) {
    state.withLock { state in
      state.conflicts = state.conflicts.filter { $0.key.address != conflict.address }
      state.conflicts[conflict] = now.time
      Self.trim(&state.conflicts)
    }
    let detail =
      "\(conflict.card.map { "the card \($0)" } ?? "a machine behind a relay agent") uses \(conflict.address), which it "
      + "was not given: nobody gets that for \(conflict.blockedSeconds) s"
    if let card = conflict.card {
      ledger.record(card, .dhcp, "conflict", detail, now: now)
    } else {
      timeline.record(TimelineEvent(at: now.time, source: .dhcp, event: "conflict", detail: detail))
    }
  }

  private static func trim<Key>(_ found: inout [Key: Timestamp]) {
    guard found.count > limit, let oldest = found.min(by: { $0.value < $1.value }) else { return }
    found[oldest.key] = nil
  }

  package var view: NetworkView {
    let (counters, servers, conflicts) = state.withLock { ($0.counters, $0.servers, $0.conflicts) }
    return NetworkView(
      dhcp: counters.map { NetworkView.Interface(interface: $0.interface, statistics: $0.read()) },
      otherServers: servers.sorted { $0.value < $1.value }.map {
        NetworkView.Server(address: $0.key.address, mac: $0.key.card, lastHeard: $0.value)
      },
      conflicts: conflicts.sorted { $0.value < $1.value }.map {
        NetworkView.Conflict(address: $0.key.address, mac: $0.key.card, found: $0.value)
      })
  }
}

/// What `info` says of the network. Of other servers and conflicts: those met since the appliance was started.
package struct NetworkView: Hashable, Sendable, Codable {
  package var dhcp: [Interface]
  package var otherServers: [Server]
  package var conflicts: [Conflict]

  package struct Interface: Hashable, Sendable, Codable {
    package var interface: String
    package var statistics: DHCPStatistics
  }

  package struct Server: Hashable, Sendable, Codable {
    package var address: IPv4Address
    package var mac: MACAddress
    package var lastHeard: Timestamp
  }

  package struct Conflict: Hashable, Sendable, Codable {
    package var address: IPv4Address
    @OrNull package var mac: MACAddress?
    package var found: Timestamp
  }
}

extension BootObserver {
  package func observed(_ server: OtherServer) { network.heard(server) }
  package func observed(_ conflict: AddressConflict) { network.found(conflict) }
}
