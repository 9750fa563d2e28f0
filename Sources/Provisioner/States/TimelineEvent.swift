package import NetworkTypes

/// One thing that happened in a boot.
package struct TimelineEvent: Hashable, Sendable, Codable {
  package enum Source: String, Hashable, Sendable, Codable, CaseIterable {
    case dhcp
    case tftp
    case http
    case state
    case step
  }

  package var at: Timestamp
  package var source: Source
  /// A word or two: `discover`, `script`, `50-root done`.
  package var event: String
  /// In words for a person.
  package var detail: String
  package var node: String?
  package var mac: MACAddress?
  package var boot: String?
  /// What it took, where it is over.
  package var seconds: Double?
  /// How far it has come, and how far it goes, in bytes: only shown to who watches, never written.
  package var completed: Int64?
  package var total: Int64?

  package init(
    at: Timestamp, source: Source, event: String, detail: String, node: String? = nil, mac: MACAddress? = nil,
    boot: String? = nil, seconds: Double? = nil, completed: Int64? = nil, total: Int64? = nil
  ) {
    self.at = at
    self.source = source
    self.event = event
    self.detail = detail
    self.node = node
    self.mac = mac
    self.boot = boot
    self.seconds = seconds
    self.completed = completed
    self.total = total
  }
}
