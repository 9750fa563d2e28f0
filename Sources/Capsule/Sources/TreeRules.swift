import CapsuleFormat

/// What an entry of a tree may be, whatever source it comes from.
enum TreeRules {
  /// Checks an entry, and leaves out the attributes that mean nothing on another machine.
  static func check(_ entry: inout TarEntry) throws(TarError) {
    entry.extendedAttributes.removeAll { !isKept($0) }
    switch entry.kind {
    case .characterDevice(0, 0):
      throw .notAllowed(
        "\(entry.path)", reason: "it is the mark of a deleted file in a layer of an overlay, not a file of a tree")
    case .characterDevice, .blockDevice:
      // A root has its devices in dev, and so has every root inside it.
      guard entry.path.parent.components.contains(where: { $0.elementsEqual("dev".utf8) }) else {
        throw .notAllowed("\(entry.path)", reason: "it is a device outside of every directory 'dev'")
      }
    default: return
    }
  }

  /// Attributes that mean something on another machine. Those of overlay file systems describe layers.
  static func isKept(_ attribute: ExtendedAttribute) -> Bool {
    let name = String(decoding: attribute.name, as: UTF8.self)
    if name.hasPrefix("trusted.overlay.") || name.hasPrefix("user.overlay.") { return false }
    return name.hasPrefix("user.") || name.hasPrefix("security.") || name.hasPrefix("trusted.")
      || name == "system.posix_acl_access" || name == "system.posix_acl_default" || ACLText.isRecord(name)
  }
}
