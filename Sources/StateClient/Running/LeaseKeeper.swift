import CLinux
package import DHCPClient
import DHCPWire
import Glibc
package import NetworkTypes
package import StateProtocol

/// Keeps the address that the machine was given, while stage 1 waits and in the running system.
///
/// It asks for more time when that is due; it takes an address from an interface only when the lease
/// is lost and another one was given. While the operating system has a DHCP client on the interface, it does nothing
/// but look again whether that is still so.
package struct LeaseKeeper {
  /// What the DHCP client does, and how addresses are set: tests put their own here.
  package struct Actions {
    package var renew: (AcquiredLease) throws -> AcquiredLease
    package var acquire: (IPv4Address) throws -> AcquiredLease
    package var isHeld: (IPv4Address) -> Bool
    package var install: (AcquiredLease) throws -> Void
    package var save: (LeaseRecord) throws -> Void
    /// Who else looks after the address, in words.
    package var systemClient: (IPv4Address) -> String?

    package init(
      renew: @escaping (AcquiredLease) throws -> AcquiredLease,
      acquire: @escaping (IPv4Address) throws -> AcquiredLease,
      isHeld: @escaping (IPv4Address) -> Bool, install: @escaping (AcquiredLease) throws -> Void,
      save: @escaping (LeaseRecord) throws -> Void,
      systemClient: @escaping (IPv4Address) -> String? = { _ in nil }
    ) {
      self.systemClient = systemClient
      self.renew = renew
      self.acquire = acquire
      self.isHeld = isHeld
      self.install = install
      self.save = save
    }

    /// The real ones of the running system, for one interface.
    /// - Parameter vendorClass: Option 60, by which the server knows who asks.
    package init(
      interface: String, hardwareAddress: MACAddress, vendorClass: String = "perseid-node",
      clientIdentifier: [UInt8]? = nil, say: @escaping (String) -> Void
    ) {
      renew = { lease in
        try DHCPClient.renew(
          lease, on: interface, hardwareAddress: hardwareAddress, vendorClass: vendorClass,
          clientIdentifier: clientIdentifier, within: 10)
      }
      acquire = { address in
        try DHCPClient.acquire(
          on: interface, hardwareAddress: hardwareAddress, vendorClass: vendorClass,
          clientIdentifier: clientIdentifier, requested: address, within: 30)
      }
      isHeld = { KernelInterfaces.holds($0) }
      systemClient = { SystemDHCPClient.find(on: interface, address: $0) }
      install = { lease in
        let interfaces = KernelInterfaces()
        try interfaces.bringUp(interface)
        try interfaces.set(lease, on: interface, say: say)
      }
      save = { record in
        try SmallFile.write(LeaseRecord.path, try ProtocolJSON.encode(record), mode: 0o644)
      }
    }
  }

  package private(set) var lease: AcquiredLease
  private let actions: Actions
  private let say: (String) -> Void
  private var backoff = Backoff(first: 4, longest: 60)
  /// Whether the operating system's own client has been seen.
  private var isLeftToSystem = false
  /// CLOCK_BOOTTIME seconds.
  package private(set) var dueAt: Double

  package init(_ lease: AcquiredLease, actions: Actions, say: @escaping (String) -> Void) {
    self.lease = lease
    self.actions = actions
    self.say = say
    dueAt = lease.isInfinite ? .infinity : Double(lease.renewAt)
  }

  /// Does what is due at a time, and sets `dueAt` anew.
  package mutating func attend(at now: Double) {
    guard now >= dueAt else { return }
    if let client = actions.systemClient(lease.address) {
      if !isLeftToSystem { say("the lease of \(lease.address) is left to the operating system: \(client)") }
      isLeftToSystem = true
      dueAt = now + max(Double(lease.leaseSeconds) / 2, 30)
      return
    }
    if isLeftToSystem {
      say("the operating system's DHCP client is gone: the lease of \(lease.address) is renewed here again")
      isLeftToSystem = false
      // Theirs may be younger, or over: asking tells.
    }
    do {
      if now >= Double(lease.expiresAt) {
        try recover(now, because: "it was not renewed before its end")
        return
      }
      guard actions.isHeld(lease.address) else {
        // The operating system has taken its own measures: the address is no longer ours to renew.
        say("address \(lease.address) is no longer set here: the operating system looks after it")
        dueAt = .infinity
        return
      }
      do {
        try keep(try actions.renew(lease))
      } catch let error as DHCPClientError {
        switch error {
        case .refused, .expired: try recover(now, because: "\(error)")
        default: throw error
        }
      }
    } catch {
      let wait = backoff.next()
      // Not past the end: there the lease is lost and another is asked for.
      let end = Double(lease.expiresAt)
      dueAt = now < end ? min(now + wait, end) : now + wait
      say("address \(lease.address) was not renewed: \(error)")
      say("  tried again in \(Int((dueAt - now).rounded(.up))) s")
    }
  }

  private mutating func recover(_ now: Double, because reason: String) throws {
    say("the lease of \(lease.address) is lost: \(reason)")
    let new = try actions.acquire(lease.address)
    if new.address != lease.address || !actions.isHeld(new.address) {
      try actions.install(new)
      say("address \(new.address) from \(new.serverIdentifier)")
    }
    try keep(new)
  }

  private mutating func keep(_ new: AcquiredLease) throws {
    lease = new
    backoff.reset()
    dueAt = new.isInfinite ? .infinity : Double(new.renewAt)
    try actions.save(LeaseRecord(new))
  }
}

extension LeaseRecord {
  package init(_ lease: AcquiredLease) {
    self.init(
      address: lease.address, prefixLength: lease.prefixLength, router: lease.router,
      serverIdentifier: lease.serverIdentifier, seconds: lease.leaseSeconds, obtainedAt: Double(lease.obtainedAt),
      mtu: lease.mtu, domainSearch: lease.domainSearch.isEmpty ? nil : lease.domainSearch,
      routes: lease.routes.isEmpty
        ? nil : lease.routes.map { LeaseRecord.Route(destination: $0.destination, router: $0.router) })
  }
}

extension AcquiredLease {
  /// A handed-over lease, with the usual times of renewal (RFC 2131, section 4.4.5).
  package init(_ record: LeaseRecord) {
    self.init(
      address: record.address, prefixLength: record.prefixLength, router: record.router,
      serverIdentifier: record.serverIdentifier, leaseSeconds: record.seconds, renewalSeconds: record.seconds / 2,
      rebindingSeconds: UInt32(UInt64(record.seconds) * 7 / 8),
      obtainedAt: Int64(min(max(record.obtainedAt, 0), 1e15)), mtu: record.mtu,
      domainSearch: record.domainSearch ?? [],
      routes: (record.routes ?? []).map { ClasslessRoute(destination: $0.destination, router: $0.router) })
  }
}
