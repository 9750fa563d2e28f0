package import DHCP
import NetworkTypes
package import TFTP

/// Turns what DHCP and TFTP see into events of boots, in the words a person wants.
package struct BootObserver: ExchangeObserver, TransferObserver {
  private let ledger: BootLedger
  let network: NetworkWatch
  private let packets: PacketLog

  package init(ledger: BootLedger, network: NetworkWatch, packets: PacketLog) {
    self.ledger = ledger
    self.network = network
    self.packets = packets
  }

  package func observed(_ exchange: Exchange) {
    let client = exchange.client
    let mac = client.hardwareAddress
    let now = Moment.now
    if let exchanged = exchange.packets { packets.keep(exchanged, of: mac) }
    // Another server's ACK is not heard, but the REQUEST for it goes to everyone.
    if exchange.sent == "ACK" || (client.isProxied && exchange.received == "REQUEST") {
      ledger.remember(mac, at: exchange.address)
    }
    switch client.speaker {
    case .pxeFirmware, .httpFirmware, .ipxe:
      if exchange.received == "DISCOVER" { ledger.discovered(mac, by: client.speaker, now: now) }
      ledger.identified(MachineIdentity(client))
    case .perseid, .other:
      // A running system renews for ever, and most machines are none of ours.
      guard let phase = ledger.phase(of: mac), phase >= .loading, phase < .running else { return }
    }
    if let strategy = ledger.trials.observed(exchange, now: now.time) {
      ledger.record(
        mac, .dhcp, "strategy", "it asks again and again and does not boot: from now on \(strategy.words)", now: now)
    }
    ledger.record(mac, .dhcp, exchange.received.lowercased(), ExchangeWords.line(exchange), now: now)
    if client.speaker == .ipxe { ledger.spoke(mac) }
  }

  package func observed(_ event: TransferEvent) {
    let file = BootFileName(event.name)
    // That one has been written down in better words.
    if case .failure = file { return }
    let boot = file?.boot
    guard let mac = boot.flatMap({ ledger.mac(of: $0) }) ?? ledger.mac(at: event.client) else { return }
    if boot != nil, event.kind == .started { ledger.came(mac, to: .loading) }
    if case .loader = file {
      switch event.kind {
      case .started, .probed: ledger.trials.loading(mac)
      case .finished: ledger.trials.loaded(mac)
      case .progress, .failed, .refused: break
      }
    }
    let name = event.name
    let size = ByteCount.words(Int64(event.bytes))
    switch event.kind {
    case .started:
      ledger.record(mac, .tftp, "started", "\(name), blocks of \(event.blockSize) bytes, window \(event.windowSize)")
    case .progress:
      let percent = event.size > 0 ? " (\(event.bytes * 100 / event.size) %)" : ""
      ledger.show(
        mac, .tftp, "progress",
        "\(name), \(size) of \(ByteCount.words(Int64(event.size)))\(percent) in \(ByteCount.seconds(event.seconds))")
    case .finished:
      let again = event.retransmissions > 0 ? ", \(event.retransmissions) blocks sent again" : ""
      ledger.record(
        mac, .tftp, "finished", "\(name), \(size) in \(ByteCount.seconds(event.seconds))\(again)",
        seconds: event.seconds)
    case .probed:
      ledger.record(mac, .tftp, "probed", "\(name): asked for its size")
    case .failed(let reason):
      ledger.record(mac, .tftp, "failed", "\(name) after \(size): \(reason)", seconds: event.seconds)
    case .refused(let reason):
      ledger.record(mac, .tftp, "refused", "\(name): \(reason)")
    }
  }
}
