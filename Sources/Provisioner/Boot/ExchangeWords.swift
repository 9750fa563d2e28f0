import DHCP
import NetworkTypes

/// DHCP in words for a person.
enum ExchangeWords {
  /// A timeline's line, short: `UEFI x64 firmware: OFFER 10.0.1.1, snponly.efi by TFTP; rule uefi`.
  static func line(_ exchange: Exchange) -> String {
    var text = speaker(exchange.client)
    if let relay = exchange.client.relay { text += " by relay \(relay)" }
    if exchange.client.isProxied, exchange.received == "REQUEST", exchange.sent == nil, let address = exchange.address {
      return "\(text): takes \(address) (\(exchange.reason))"
    }
    guard let sent = exchange.sent else {
      let address = exchange.address.map { " \($0)" } ?? ""
      return "\(text):\(address) \(answer(exchange))"
    }
    text += ": \(sent)"
    if let address = exchange.address { text += " \(address)" }
    // An ACK says what the OFFER said.
    if exchange.received == "REQUEST", exchange.reason != Exchange.atBootServerPort {
      return isUsual(exchange.reason) ? text : "\(text) (\(exchange.reason))"
    }
    let answer = answer(exchange)
    return answer.isEmpty ? text : "\(text), \(answer)"
  }

  private static func answer(_ exchange: Exchange) -> String {
    var parts: [String] = []
    if let file = exchange.bootFile {
      parts.append(self.file(file, exchange.client.speaker))
    } else if let boot = exchange.boot, !boot.reason.isEmpty, isBooting(exchange.client) {
      parts.append("nothing to boot: \(boot.reason)")
    }
    if !isUsual(exchange.reason) { parts.append(exchange.reason) }
    if exchange.sent == nil { parts.append("not answered") }
    if !exchange.quirks.isEmpty {
      parts.append("\(exchange.quirks.count == 1 ? "rule" : "rules") \(exchange.quirks.joined(separator: ", "))")
    }
    return parts.joined(separator: "; ")
  }

  /// Who speaks.
  static func speaker(_ client: ClientDescription) -> String {
    switch client.speaker {
    case .pxeFirmware, .httpFirmware:
      let platform = BootPlatform.all(client).first?.rawValue ?? BootPlatform.words(client.architectures.first)
      return platform + (client.speaker == .httpFirmware ? " HTTP firmware" : " firmware")
    case .ipxe: return "iPXE"
    case .perseid: return "stage 1"
    case .other: return "the operating system"
    }
  }

  /// A boot file, and by which way it comes.
  static func file(_ file: String, _ speaker: ClientDescription.Speaker) -> String {
    guard file.hasPrefix("http://") else { return "\(file) by TFTP" }
    return speaker == .ipxe ? "its script by HTTP" : "\(file.split(separator: "/").last ?? "") by HTTP"
  }

  private static func isBooting(_ client: ClientDescription) -> Bool {
    client.speaker != .other && client.speaker != .perseid
  }

  /// What needs no saying: an address that was found without trouble, or is another's to give.
  private static func isUsual(_ reason: String) -> Bool {
    if reason == Exchange.proxied { return true }
    return switch LeaseReason(rawValue: reason) {
    case .reserved, .offeredBefore, .heldBefore, .asked, .neverUsed, .longestUnused, .granted, .confirmed, .renewed:
      true
    default: reason.isEmpty
    }
  }
}
