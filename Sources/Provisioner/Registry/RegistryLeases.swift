package import DHCP

/// Leases as records of the registry's store.
package struct RegistryLeases: LeaseStore {
  private let store: any Store

  package init(store: any Store) {
    self.store = store
  }

  package func leases() async throws -> [Lease] {
    try await store.snapshot().records.compactMap { record in
      guard record.key.hasPrefix(RecordKey.lease) else { return nil }
      return LeaseCoding.lease(key: record.key, value: record.value)
    }
  }

  package func commit(_ leases: [Lease], done: @escaping @Sendable ((any Error)?) -> Void) {
    guard !leases.isEmpty else { return done(nil) }
    store.commit(leases.map(LeaseCoding.change), expecting: nil) { result in
      switch result {
      case .success: done(nil)
      case .failure(let error): done(error)
      }
    }
  }
}
