import Synchronization

/// What the server did, counted.
package struct DHCPStatistics: Hashable, Sendable, Codable {
  /// Messages read whole.
  package var received = 0
  package var offers = 0
  package var acknowledgements = 0
  package var refusals = 0
  /// Replies the kernel did not take.
  package var unsent = 0
  /// Replies left out since too many waited for the disk.
  package var overloaded = 0
  /// Replies left out since their lease could not be written.
  package var uncommitted = 0
  /// Replies of other servers heard on the segment.
  package var otherServers = 0
  /// Addresses probed: with two frames each, or behind relay agents two packets.
  package var probes = 0
  /// Addresses that are known to be free just now, and ready to be offered.
  package var ready = 0
  /// Addresses of the pools that strangers were found to use.
  package var conflicts = 0
  /// Offers of fresh addresses that nobody had probed, since none that was probed was left.
  package var unprobedOffers = 0
  /// Packets without use, by reason: those of ``DHCPParseError``, ``FrameError`` and ``Ignored``.
  package var ignored: [String: Int] = [:]
}

extension DHCPStatistics {
  /// Nothing yet.
  package static let none = DHCPStatistics()
}

/// Counters many threads write.
final class Counters: Sendable {
  let received = Atomic(0)
  let offers = Atomic(0)
  let acknowledgements = Atomic(0)
  let refusals = Atomic(0)
  let unsent = Atomic(0)
  let overloaded = Atomic(0)
  let uncommitted = Atomic(0)
  let otherServers = Atomic(0)
  let probes = Atomic(0)
  let ready = Atomic(0)
  let conflicts = Atomic(0)
  let unprobedOffers = Atomic(0)
  private let reasons = Mutex<[String: Int]>([:])

  /// - Parameter reason: One of a fixed set of words, so that hostile packets cannot make this grow.
  func ignored(_ reason: String) {
    reasons.withLock { $0[reason, default: 0] += 1 }
  }

  var snapshot: DHCPStatistics {
    DHCPStatistics(
      received: received.load(ordering: .relaxed), offers: offers.load(ordering: .relaxed),
      acknowledgements: acknowledgements.load(ordering: .relaxed), refusals: refusals.load(ordering: .relaxed),
      unsent: unsent.load(ordering: .relaxed), overloaded: overloaded.load(ordering: .relaxed),
      uncommitted: uncommitted.load(ordering: .relaxed), otherServers: otherServers.load(ordering: .relaxed),
      probes: probes.load(ordering: .relaxed), ready: ready.load(ordering: .relaxed),
      conflicts: conflicts.load(ordering: .relaxed),
      unprobedOffers: unprobedOffers.load(ordering: .relaxed),
      ignored: reasons.withLock { $0 })
  }
}

extension Atomic<Int> {
  func count() { wrappingAdd(1, ordering: .relaxed) }
}
