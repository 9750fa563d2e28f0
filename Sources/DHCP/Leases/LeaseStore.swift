package import NetworkTypes

/// Who holds an address. All identities of one card (firmware, iPXE, stage 1, operating system) are
/// one: the hardware address where the message has one; else the client identifier (InfiniBand).
package enum LeaseHolder: Hashable, Sendable, Codable {
  case hardware(MACAddress)
  case identifier([UInt8])

  /// Nobody that is known: no client has an empty identifier.
  package static let nobody = LeaseHolder.identifier([])
}

extension LeaseHolder {
  /// As ``NetworkTypes/MACAddress`` has it: nearly every holder is a card.
  package func _rawHashValue(seed: Int) -> Int {
    switch self {
    case .hardware(let card): return card._rawHashValue(seed: seed)
    case .identifier(let bytes): return bytes._rawHashValue(seed: seed)
    }
  }
}

/// One address given out, or kept from being given out.
package struct Lease: Hashable, Sendable, Codable {
  package enum State: String, Hashable, Sendable, Codable {
    /// The client's until `expires`; after that remembered for it while nobody else needs it.
    case bound
    /// Given back; remembered for the client while nobody else needs it.
    case released
    /// Found in use by a stranger (DHCPDECLINE, or by a probe): nobody's until `expires`. Its holder is the
    /// client that found it, or else the stranger, where its card is known.
    case declined
  }

  package var address: IPv4Address
  package var holder: LeaseHolder
  package var state: State
  /// Seconds since 1970-01-01 UTC.
  package var expires: Int64
  package var hostName: String?

  package init(
    address: IPv4Address, holder: LeaseHolder, state: State, expires: Int64, hostName: String? = nil
  ) {
    self.address = address
    self.holder = holder
    self.state = state
    self.expires = expires
    self.hostName = hostName
  }

  /// Whether the address may be another's.
  func isOver(at now: Int64) -> Bool { state == .released || expires <= now }
}

/// Where leases outlive the server. An OFFER writes nothing; an ACK waits for its commit.
package protocol LeaseStore: Sendable {
  /// Every lease on record, in no order.
  func leases() async throws -> [Lease]
  /// Puts each lease in the place of the one with its address, and returns at once.
  /// - Parameter done: Called when all are on the disk, or with the reason why none is; must return at once.
  func commit(_ leases: [Lease], done: @escaping @Sendable ((any Error)?) -> Void)
}

extension LeaseStore {
  /// The same, waiting for it.
  package func commit(_ leases: [Lease]) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      commit(leases) { error in
        if let error { continuation.resume(throwing: error) } else { continuation.resume() }
      }
    }
  }
}
