import NetworkTypes

/// The keys of `node set` and `group set`: what each takes, and how it is said to be wrong.
package enum NodeKeys {
  package static let node = [
    "name", "mac", "guid", "clientid", "address", "group", "vnfs", "enabled", "boot", "root", "kernelArgs",
    "description", "debug",
    "var.NAME",
  ]
  /// Those that only one node can have at a time.
  static let unshared: Set<String> = ["name", "mac", "guid", "clientid", "address"]
  package static let group = ["vnfs", "enabled", "boot", "root", "kernelArgs", "description", "debug", "var.NAME"]

  /// Names that scripts get from the appliance or the shell: no variable may stand in their way.
  package static let reservedVariables: Set<String> = [
    "STATE", "NODENAME", "VNFS", "ENABLED", "DEBUG", "GROUPNAME", "GROUPNAMES", "NODEID", "IPADDR", "VNFSMASTER",
    "MASTER", "DESTDIR", "PATH", "HOME", "IFS", "PWD", "SHELL", "ENV", "BASH_ENV", "USER", "BOOT", "GENERATION",
    "ASSIGNED",
  ]

  /// Sets one key of a node; an empty value gives it back to the group or the defaults.
  /// - Throws: `ApplianceError` with key, what was found and what is allowed.
  static func set(_ key: String, _ value: String, of node: inout Node, in view: borrowing RegistryView) throws {
    switch key {
    case "name":
      guard NodeName.isValid(value) else {
        throw invalid(key, value, "a host name: letters, digits and hyphens, at most 63, no hyphen at either end")
      }
      if value != node.name, view.node(named: value) != nil {
        throw ApplianceError(
          .conflict, "There is a node \(value) already. Choose another name, or delete that node first.")
      }
      node.name = value
      // Whoever gives it a name has said which node it is.
      node.isHeld = false
    case "mac":
      node.macs = try macs(value, of: node.name, in: view)
    case "guid":
      node.ownGUID = value.isEmpty ? nil : try guid(value, of: node.name, in: view)
    case "clientid":
      node.clientIdentifier = value.isEmpty ? nil : try clientIdentifier(value, of: node.name, in: view)
    case "address":
      node.address = value.isEmpty ? nil : try address(value, of: node.name, in: view)
    case "group":
      node.groups = try groups(value)
    default:
      try set(key, value, of: &node.settings, in: view, allowed: Self.node)
    }
  }

  /// Sets one key that nodes and groups share.
  static func set(
    _ key: String, _ value: String, of settings: inout Settings, in view: borrowing RegistryView,
    allowed: [String] = group
  ) throws {
    switch key {
    case "vnfs":
      if !value.isEmpty, view.capsules[value] == nil {
        let names = view.capsules.keys.sorted().joined(separator: ", ")
        throw ApplianceError(
          .notFound,
          "There is no capsule '\(value)'. "
            + (names.isEmpty ? "There is none yet: make one with 'perseid vnfs import'." : "There are: \(names)."))
      }
      settings.vnfs = value.isEmpty ? nil : value
    case "enabled": settings.enabled = try bool(key, value)
    case "debug": settings.debug = try bool(key, value)
    case "boot": settings.boot = try choice(key, value)
    case "root": settings.root = try choice(key, value)
    case "kernelArgs":
      guard value.utf8.count <= 1024, value.utf8.allSatisfy({ (32...126).contains($0) }) else {
        throw invalid(key, value, "at most 1024 printable ASCII characters on one line")
      }
      settings.kernelArgs = value.isEmpty ? nil : value
    case "description":
      guard value.utf8.count <= 1024, value.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }) else {
        throw invalid(key, value, "at most 1024 bytes of text on one line")
      }
      settings.description = value.isEmpty ? nil : value
    case _ where key.hasPrefix("var."):
      try setVariable(String(key.dropFirst(4)), value, of: &settings, in: view)
    default:
      throw ApplianceError(.invalid, "There is no key '\(key)'. The keys are: \(allowed.joined(separator: ", ")).")
    }
  }

  /// The value of a key as text, `nil` where it is inherited.
  static func text(_ key: String, of node: Node) -> String? {
    switch key {
    case "name": node.name
    case "mac": node.macs.map(\.description).joined(separator: ",")
    case "guid": node.ownGUID
    case "clientid": node.clientIdentifier.map { MachineIdentity.hexadecimal($0, separator: ":") }
    case "address": node.address?.description
    case "group": node.groups.isEmpty ? nil : node.groups.joined(separator: ",")
    default: text(key, of: node.settings)
    }
  }

  static func text(_ key: String, of settings: Settings) -> String? {
    switch key {
    case "vnfs": settings.vnfs
    case "enabled": settings.enabled.map { "\($0)" }
    case "debug": settings.debug.map { "\($0)" }
    case "boot": settings.boot?.rawValue
    case "root": settings.root?.rawValue
    case "kernelArgs": settings.kernelArgs
    case "description": settings.description
    case _ where key.hasPrefix("var."): settings.vars?[String(key.dropFirst(4))]
    default: nil
    }
  }

  /// One card's address, refused where it is no single card's or another node's.
  static func mac(_ text: String, of name: String?, in view: borrowing RegistryView) throws -> MACAddress {
    guard let mac = MACAddress(text), mac.isUnicast else {
      throw invalid("mac", text, "the hardware address of one card, such as 52:54:00:12:34:56")
    }
    if let owner = view.node(with: mac), owner.name != name {
      throw ApplianceError(
        .conflict,
        "The hardware address \(mac) belongs to node \(owner.name). Delete or change that node first, or put its "
          + "machine in another's place: perseid node replace OLD \(owner.name).")
    }
    return mac
  }

  private static func guid(_ value: String, of name: String, in view: borrowing RegistryView) throws -> String {
    guard let guid = MachineIdentity.guid(value) else {
      throw invalid(
        "guid", value, "the machine's own GUID, such as 4c4c4544-0034-3010-8051-b7c04f4a3532 (dmidecode -s system-uuid)"
      )
    }
    if let owner = view.node(withGUID: guid), owner.name != name {
      throw ApplianceError(.conflict, "The GUID \(guid) belongs to node \(owner.name). Change that node first.")
    }
    return guid
  }

  private static func clientIdentifier(
    _ value: String, of name: String, in view: borrowing RegistryView
  ) throws -> [UInt8] {
    guard let bytes = MachineIdentity.bytes(hexadecimal: value), (2...255).contains(bytes.count) else {
      throw invalid(
        "clientid", value,
        "a DHCP client identifier (option 61, type byte included) of 2 to 255 bytes in hexadecimal digits, "
          + "such as ff:00:00:00:00:00:02:00:00:02:c9:00:f4:52:14:03:00:12:34:56")
    }
    // 1 and an Ethernet address is what most clients send of themselves.
    let card = bytes.first == 1 ? MACAddress(bytes: bytes.dropFirst()) : nil
    if let owner = view.node(withClientIdentifier: bytes) ?? card.flatMap({ view.node(with: $0) }), owner.name != name {
      throw ApplianceError(
        .conflict, "The client identifier \(value) belongs to node \(owner.name). Change that node first.")
    }
    return bytes
  }

  /// The main one first; a name that is repeated counts once.
  static func groups(_ value: String) throws -> [String] {
    var groups: [String] = []
    for part in value.split(separator: ",", omittingEmptySubsequences: false) where !value.isEmpty {
      let group = String(part.filter { $0 != " " })
      guard NodeName.isValidLabel(group) else { throw invalid("group", group, "for each group: \(label)") }
      if !groups.contains(group) { groups.append(group) }
    }
    guard groups.count <= groupLimit else { throw invalid("group", value, "at most \(groupLimit) groups") }
    return groups
  }

  /// Most groups of one node.
  static let groupLimit = 32

  static func macs(_ value: String, of name: String?, in view: borrowing RegistryView) throws -> [MACAddress] {
    var macs: [MACAddress] = []
    for part in value.split(separator: ",", omittingEmptySubsequences: false) {
      let mac = try mac(String(part.filter { $0 != " " }), of: name, in: view)
      if !macs.contains(mac) { macs.append(mac) }
    }
    guard macs.count <= 32 else { throw invalid("mac", value, "at most 32 hardware addresses") }
    return macs
  }

  private static func address(_ value: String, of name: String, in view: borrowing RegistryView) throws -> IPv4Address {
    guard let address = IPv4Address(value), address != .any, address.bytes[0] != 0, address.bytes[0] != 127,
      address.bytes[0] < 224
    else { throw invalid("address", value, "the address of one host, such as 10.0.0.21") }
    if let owner = view.node(reserving: address), owner.name != name {
      throw ApplianceError(
        .conflict,
        "The address \(address) is set aside for node \(owner.name). Choose another, or change that node first.")
    }
    return address
  }

  /// Letters, digits and underscores, no digit first, at most 64.
  package static func isVariable(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    return (1...64).contains(bytes.count) && !(48...57).contains(bytes[0])
      && bytes.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 95 }
  }

  private static func setVariable(
    _ name: String, _ value: String, of settings: inout Settings, in view: borrowing RegistryView
  ) throws {
    guard isVariable(name) else {
      throw invalid(
        "var.NAME", "var.\(name)", "letters, digits and underscores after 'var.', at most 64, no digit first")
    }
    guard !reservedVariables.contains(name), !name.hasPrefix("LD_") else {
      throw ApplianceError(.invalid, "The variable '\(name)' is set by the appliance itself. Choose another name.")
    }
    guard value.utf8.count <= 4096, !value.utf8.contains(0) else {
      throw invalid("var.\(name)", "a value of \(value.utf8.count) bytes", "at most 4096 bytes without NUL")
    }
    // A module says what its variable must be; one that is active nowhere has no say.
    for module in view.modules.values.sorted(by: { $0.name < $1.name }) where !value.isEmpty && !module.active.isEmpty {
      if let type = module.variables[name], type.value(value) == nil {
        throw invalid("var.\(name)", value, "\(type.allowed), as the module \(module.name) has it")
      }
    }
    var vars = settings.vars ?? [:]
    vars[name] = value.isEmpty ? nil : value
    settings.vars = vars.isEmpty ? nil : vars
  }

  private static func bool(_ key: String, _ value: String) throws -> Bool? {
    switch value.lowercased() {
    case "": nil
    case "true", "yes", "on", "1": true
    case "false", "no", "off", "0": false
    default: throw invalid(key, value, "true or false")
    }
  }

  private static func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, _ value: String
  ) throws -> Choice? where Choice.RawValue == String {
    if value.isEmpty { return nil }
    guard let choice = Choice(rawValue: value) else {
      throw invalid(key, value, Choice.allCases.map(\.rawValue).joined(separator: ", "))
    }
    return choice
  }

  static let label = "letters, digits, '.', '_' and '-', at most 64, beginning with a letter or digit"

  static func invalid(_ key: String, _ value: String, _ allowed: String) -> ApplianceError {
    ApplianceError(.invalid, "\(key): '\(value)' is not allowed; allowed is \(allowed).")
  }
}
