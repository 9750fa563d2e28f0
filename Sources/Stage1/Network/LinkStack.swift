package import StateClient

/// Puts together what carries the node's address: a bond of cards, a VLAN, packets of another size.
///
/// Everything may be there already, from an earlier try.
package struct LinkStack {
  package let settings: NetworkSettings
  private let interfaces: any InterfaceControl
  private let say: (String) -> Void

  package static let bondName = "bond0"

  package init(_ settings: NetworkSettings, interfaces: any InterfaceControl, say: @escaping (String) -> Void) {
    self.settings = settings
    self.interfaces = interfaces
    self.say = say
  }

  /// Joins cards; the first gives the bond its address.
  package func join(_ cards: [NetworkCard], as bond: NetworkSettings.Bond) throws(SystemError) {
    if !interfaces.exists(Self.bondName) { try interfaces.addBond(Self.bondName) }
    let members = interfaces.members(ofBond: Self.bondName)
    if members.isEmpty {
      // The mode is set while the bond is down and empty.
      try interfaces.bringDown(Self.bondName)
      try interfaces.setBond("mode", to: bond.mode, of: Self.bondName)
      for option in bond.options {
        do throws(SystemError) {
          try interfaces.setBond(option.name, to: option.value, of: Self.bondName)
        } catch {
          say("\(error); going on without it")
        }
      }
    }
    for card in cards where !members.contains(card.name) {
      try interfaces.bringDown(card.name)
      try interfaces.addMember(card.name, toBond: Self.bondName)
    }
    try interfaces.bringUp(Self.bondName)
  }

  /// Sets the packets' size and adds the VLAN.
  /// - Parameter base: The card or the bond.
  /// - Returns: The interface that carries the address.
  package func finish(on base: String) throws(SystemError) -> String {
    setMTU(of: base)
    guard let vlan = settings.vlan else { return base }
    // 15 characters are what an interface's name may have.
    let name = base.utf8.count <= 10 ? "\(base).\(vlan)" : "vlan\(vlan)"
    if !interfaces.exists(name) { try interfaces.addVLAN(vlan, on: base, named: name) }
    try interfaces.bringUp(name)
    setMTU(of: name)
    return name
  }

  private func setMTU(of name: String) {
    guard let mtu = settings.mtu else { return }
    do throws(SystemError) {
      try interfaces.setMTU(mtu, on: name)
    } catch {
      say("\(error); going on with packets of the usual size")
    }
  }
}
