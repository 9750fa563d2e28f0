package import DHCP
package import NetworkTypes
import Synchronization

/// The trials of all machines: in memory, and what worked otherwise than usual on the disk.
package final class FirmwareTrials: Sendable {
  private struct State {
    var trials: [MACAddress: FirmwareTrial] = [:]
    /// To be written; `nil` deletes.
    var pending: [MACAddress: FirmwareTrial.Strategy?] = [:]
    var heard: [MACAddress: [ClientDescription.Speaker: Heard]] = [:]
    var exchanges = 0
  }

  /// The last question of one of a machine's programs, and its answer.
  package struct Heard: Sendable {
    package var at: Timestamp
    /// One more with each exchange: two may fall into one millisecond.
    package var number: Int
    package var exchange: Exchange
  }

  private let registry: Registry
  private let state = Mutex(State())
  private static let machineLimit = 65536

  package init(registry: Registry) {
    self.registry = registry
  }

  // MARK: Questions

  /// What to answer PXE firmware with.
  package func strategy(
    for client: ClientDescription, platform: BootPlatform?, canSign: () -> Bool
  ) -> FirmwareTrial.Strategy? {
    let order = BootDelivery.order(for: client, platform: platform)
    let trial = trial(of: client.hardwareAddress)
    return client.isDiscovering
      ? trial.next(of: order, canSign: canSign) : trial.bound(to: order, canSign: canSign)
  }

  package func trial(of mac: MACAddress) -> FirmwareTrial {
    let (trial, pending) = state.withLock { ($0.trials[mac], $0.pending[mac]) }
    return trial ?? FirmwareTrial(proven: pending ?? registry.read { $0.strategies[mac] })
  }

  /// The last exchange of each of a machine's programs since the appliance was started, in order.
  package func heard(of macs: [MACAddress]) -> [Heard] {
    state.withLock { state in macs.flatMap { Array((state.heard[$0] ?? [:]).values) } }.sorted { $0.number < $1.number }
  }

  // MARK: What happens

  /// A message was answered, or not.
  /// - Returns: What is tried from now on, where that is something else than before.
  package func observed(_ exchange: Exchange, now: Timestamp) -> FirmwareTrial.Strategy? {
    let mac = exchange.client.hardwareAddress
    state.withLock { state in
      if state.heard[mac] == nil, state.heard.count >= Self.machineLimit { state.heard.removeAll() }
      // What a REQUEST says of the boot is what was offered; of one that another server answers, nothing is known.
      if exchange.sent != nil || state.heard[mac]?[exchange.client.speaker] == nil {
        state.heard[mac, default: [:]][exchange.client.speaker] = Heard(
          at: now, number: state.exchanges, exchange: exchange)
        state.exchanges += 1
      }
    }
    guard exchange.client.speaker == .pxeFirmware, exchange.received == "DISCOVER", exchange.sent == "OFFER",
      exchange.bootFile != nil, let delivery = exchange.boot?.delivery
    else { return nil }
    let strategy = FirmwareTrial.Strategy(
      delivery, exchange.boot?.trial.flatMap(FirmwareTrial.Loader.init) ?? .usual)
    let usual = BootDelivery.order(for: exchange.client, platform: BootPlatform.all(exchange.client).first).first
    return change(mac) { $0.offered(strategy, usual: usual.map { FirmwareTrial.Strategy($0) }) } ? strategy : nil
  }

  /// The firmware asked for its boot file.
  package func loading(_ mac: MACAddress) {
    changeKnown(mac) { $0.loading() }
  }

  /// It has all of it.
  package func loaded(_ mac: MACAddress) {
    changeKnown(mac) { $0.loaded() }
  }

  /// What the firmware loaded speaks.
  /// - Returns: What has worked, where that was not known yet and is not what every machine gets first.
  package func spoke(_ mac: MACAddress) -> FirmwareTrial.Strategy? {
    let known = registry.read { $0.strategies[mac] }
    return state.withLock { state in
      guard state.trials[mac]?.spoke() == true, let trial = state.trials[mac] else { return nil }
      // What is usual needs no record, so that thousands of machines that just boot leave none.
      let record = trial.proven == trial.usual ? nil : trial.proven
      guard record != known else { return nil }
      state.pending[mac] = .some(record)
      return record
    }
  }

  package func forget(_ macs: [MACAddress]) {
    state.withLock { state in
      for mac in macs {
        state.trials[mac] = nil
        state.heard[mac] = nil
        state.pending[mac] = .some(nil)
      }
    }
  }

  /// Writes what waits. On return it is on the disk.
  package func flush() async throws {
    let pending = state.withLock { state in
      defer { state.pending = [:] }
      return state.pending
    }
    guard !pending.isEmpty else { return }
    let known = registry.read { $0.strategies }
    let changes = try pending.compactMap { mac, strategy -> Change? in
      guard known[mac] != strategy else { return nil }
      let key = RecordKey.strategy + mac.description
      return try strategy.map { try .put(key, $0) } ?? .delete(key)
    }
    do {
      if !changes.isEmpty { try await registry.store.commit(changes, expecting: nil) }
    } catch {
      state.withLock { state in state.pending.merge(pending) { newer, _ in newer } }
      throw error
    }
  }

  private func change<Answer>(_ mac: MACAddress, _ body: (inout FirmwareTrial) -> Answer) -> Answer {
    let fresh = trial(of: mac)
    return state.withLock { state in
      if state.trials[mac] == nil, state.trials.count >= Self.machineLimit { state.trials.removeAll() }
      return body(&state.trials[mac, default: fresh])
    }
  }

  /// Only of machines whose firmware was heard: what else loads files is not on trial.
  private func changeKnown(_ mac: MACAddress, _ body: (inout FirmwareTrial) -> Void) {
    state.withLock { state in
      if var trial = state.trials[mac] {
        body(&trial)
        state.trials[mac] = trial
      }
    }
  }
}
