package import DHCP
import NetworkTypes
package import TFTP

/// Turns what DHCP and TFTP see into events of boots, in the words a person wants.
package struct BootObserver: ExchangeObserver, TransferObserver {
  private let ledger: BootLedger
  private let packets: PacketLog

  package init(ledger: BootLedger, packets: PacketLog) {
    self.ledger = ledger
    self.packets = packets
  }

  package func observed(_ exchange: Exchange) {
    let client = exchange.client
    let mac = client.hardwareAddress
    let now = Timestamp.now
    if let exchanged = exchange.packets { packets.keep(exchanged, of: mac) }
    if exchange.sent == "ACK" { ledger.remember(mac, at: exchange.address) }
    switch client.speaker {
    case .pxeFirmware, .httpFirmware, .ipxe:
      if exchange.received == "DISCOVER" { ledger.discovered(mac, by: client.speaker, now: now) }
      ledger.identified(MachineIdentity(client))
    case .perseid, .other:
      // A running system renews for ever, and most machines are none of ours.
      guard let phase = ledger.phase(of: mac), phase >= .loading, phase < .running else { return }
    }
    ledger.record(mac, .dhcp, exchange.received.lowercased(), Self.words(exchange), now: now)
  }

  private static func words(_ exchange: Exchange) -> String {
    let speaker =
      switch exchange.client.speaker {
      case .pxeFirmware: "PXE firmware"
      case .httpFirmware: "UEFI HTTP firmware"
      case .ipxe: "iPXE"
      case .perseid: "stage 1"
      case .other: "the operating system"
      }
    var text = "from \(speaker)"
    if let relay = exchange.client.relay { text += " by relay \(relay)" }
    if let sent = exchange.sent {
      text += ": answered \(sent)"
      if let address = exchange.address { text += " \(address)" }
      if let file = exchange.bootFile { text += ", boot file \(file)" }
    } else {
      text += ": not answered"
    }
    return exchange.reason.isEmpty ? text : "\(text) (\(exchange.reason))"
  }

  package func observed(_ event: TransferEvent) {
    let file = BootFileName(event.name)
    // That one has been written down in better words.
    if case .failure = file { return }
    let boot = file?.boot
    guard let mac = boot.flatMap({ ledger.mac(of: $0) }) ?? ledger.mac(at: event.client) else { return }
    if boot != nil, event.kind == .started { ledger.came(mac, to: .loading) }
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
