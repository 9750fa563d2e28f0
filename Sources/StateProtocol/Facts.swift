package import NetworkTypes

/// What a node says of itself. All but the first four is there where the machine has it.
package struct Facts: Hashable, Sendable, Codable {
  package var kernelRelease: String
  package var memoryBytes: Int64
  package var processors: Int
  /// Seconds since the kernel started.
  package var uptimeSeconds: Double
  /// SMBIOS system GUID as text, where the machine has one.
  package var guid: String?
  /// The digest of the capsule manifest the root came from, once there is a root.
  package var generation: String?
  /// Of the SMBIOS: who made the machine, what it is called, its serial number.
  package var vendor: String?
  package var product: String?
  package var serial: String?
  package var disks: [Disk]?
  package var links: [Link]?
  /// Kinds of steps that the client knows besides those that all do: `livesync`.
  package var steps: [String]?

  /// A disk, or what looks like one.
  package struct Disk: Hashable, Sendable, Codable {
    /// As Linux calls it: `sda`, `nvme0n1`.
    package var name: String
    package var bytes: Int64
    package var model: String?

    package init(name: String, bytes: Int64, model: String? = nil) {
      self.name = name
      self.bytes = bytes
      self.model = model
    }
  }

  /// A wired card.
  package struct Link: Hashable, Sendable, Codable {
    package var name: String
    package var mac: MACAddress
    /// Megabits a second; absent where the card does not say, as without a carrier.
    package var speed: Int?
    package var driver: String?

    package init(name: String, mac: MACAddress, speed: Int? = nil, driver: String? = nil) {
      self.name = name
      self.mac = mac
      self.speed = speed
      self.driver = driver
    }
  }

  /// Most disks, and most links, that are told and kept; and bytes of one text.
  package static let countLimit = 64
  package static let textLimit = 128

  package init(
    kernelRelease: String, memoryBytes: Int64, processors: Int, uptimeSeconds: Double, guid: String? = nil,
    generation: String? = nil, vendor: String? = nil, product: String? = nil, serial: String? = nil,
    disks: [Disk]? = nil, links: [Link]? = nil
  ) {
    self.kernelRelease = kernelRelease
    self.memoryBytes = memoryBytes
    self.processors = processors
    self.uptimeSeconds = uptimeSeconds
    self.guid = guid
    self.generation = generation
    self.vendor = vendor
    self.product = product
    self.serial = serial
    self.disks = disks
    self.links = links
  }
}

extension Facts {
  /// The same with every text on one line, and nothing longer than the limits: for what someone else has written.
  package var bounded: Facts {
    var facts = self
    facts.kernelRelease = Self.text(kernelRelease)
    facts.guid = guid.map(Self.text)
    facts.generation = generation.map(Self.text)
    facts.vendor = vendor.map(Self.text)
    facts.product = product.map(Self.text)
    facts.serial = serial.map(Self.text)
    facts.disks = disks?.prefix(Self.countLimit).map { disk in
      Disk(name: Self.text(disk.name), bytes: disk.bytes, model: disk.model.map(Self.text))
    }
    facts.links = links?.prefix(Self.countLimit).map { link in
      Link(name: Self.text(link.name), mac: link.mac, speed: link.speed, driver: link.driver.map(Self.text))
    }
    facts.steps = steps?.prefix(Self.countLimit).map(Self.text)
    return facts
  }

  /// Text of a machine's own: one line without control characters, bounded.
  package static func text(_ text: String) -> String {
    let clean = text.unicodeScalars.prefix(textLimit).map { $0.value >= 32 && $0.value != 127 ? $0 : " " }
    return String(String.UnicodeScalarView(clean))
  }
}
