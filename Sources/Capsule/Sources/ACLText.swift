import CapsuleFormat

/// Access control lists as tar archives have them in text (`SCHILY.acl.*`, from `tar --acls` and from bsdtar), made into
/// the kernel's own form, in which a capsule has them.
///
/// The text is that of POSIX.1e, draft 17, section 23.2, entries separated by commas or new lines; names may be followed
/// by a number (`user:ann:rwx:1000`), as star and bsdtar write them.
enum ACLText {
  private static let records = [
    "SCHILY.acl.access": "system.posix_acl_access", "SCHILY.acl.default": "system.posix_acl_default",
  ]

  static func isRecord(_ name: String) -> Bool { records[name] != nil }

  /// A tree with its texts translated; names are those of the tree's own users and groups.
  ///
  /// - Throws: `CapsuleError` with code `badArchive`.
  static func translated(_ tree: FileTree) throws(CapsuleError) -> FileTree {
    let places = tree.items.indices.filter { index in
      tree.items[index].entry.extendedAttributes.contains { isRecord(String(decoding: $0.name, as: UTF8.self)) }
    }
    guard !places.isEmpty else { return tree }
    let users = try numbers(tree, "etc/passwd")
    let groups = try numbers(tree, "etc/group")
    var items = tree.items
    for index in places {
      var kept: [[UInt8]: [UInt8]] = [:]
      var texts: [(name: String, text: String)] = []
      for attribute in items[index].entry.extendedAttributes {
        let name = String(decoding: attribute.name, as: UTF8.self)
        if let translated = records[name] {
          texts.append((translated, String(decoding: attribute.value, as: UTF8.self)))
        } else {
          kept[attribute.name] = attribute.value
        }
      }
      // An archive that has both has the kernel's form for good reason.
      for (name, text) in texts where kept[Array(name.utf8)] == nil {
        guard let value = value(text, users: users, groups: groups) else {
          throw CapsuleError(
            .badArchive,
            "The access control list '\(text.prefix(200))' of '\(items[index].entry.path)' in \(tree.source.name) "
              + "cannot be read, or names a user or group that the tree's /etc/passwd and /etc/group do not have",
            remedy: "Make the archive with numbers (tar --numeric-owner --acls, or --xattrs --xattrs-include='*')")
        }
        if !value.bytes.isEmpty { kept[Array(name.utf8)] = value.bytes }
        if name == records["SCHILY.acl.access"] {
          // Set in the file system, the list says the mode too: the group's bits are the mask's.
          items[index].entry.mode = items[index].entry.mode & ~0o777 | value.mode
        }
      }
      items[index].entry.extendedAttributes = kept.map { ExtendedAttribute(name: $0.key, value: $0.value) }
        .sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
    return FileTree(items: items, source: tree.source)
  }

  /// The kernel's form (Linux, include/uapi/linux/posix_acl_xattr.h): a version, then entries of tag, permissions and
  /// number, little-endian, in the order of tag and number.
  ///
  /// - Returns: The form, empty for a list that says no more than a mode, and the mode that it says; `nil` for what is
  ///   no list.
  static func value(
    _ text: String, users: [String: UInt32], groups: [String: UInt32]
  ) -> (bytes: [UInt8], mode: UInt32)? {
    var entries: [(tag: UInt16, permissions: UInt16, id: UInt32)] = []
    for line in text.split(whereSeparator: { $0 == "," || $0.isNewline }) {
      let entry = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
      if entry.isEmpty { continue }
      var fields = entry.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      // "mask:rwx" is written for "mask::rwx" too.
      if fields.count == 2, ["mask", "m", "other", "o"].contains(fields[0]) { fields.insert("", at: 1) }
      guard fields.count == 3 || fields.count == 4, let permissions = permissions(fields[2]) else { return nil }
      let named: (_ table: [String: UInt32]) -> UInt32? = { table in
        if fields.count == 4, let number = UInt32(fields[3]) { return number }
        return table[fields[1]] ?? UInt32(fields[1])
      }
      let nobody = UInt32.max
      switch (fields[0], fields[1].isEmpty) {
      case ("user", true), ("u", true): entries.append((0x01, permissions, nobody))
      case ("user", false), ("u", false):
        guard let id = named(users) else { return nil }
        entries.append((0x02, permissions, id))
      case ("group", true), ("g", true): entries.append((0x04, permissions, nobody))
      case ("group", false), ("g", false):
        guard let id = named(groups) else { return nil }
        entries.append((0x08, permissions, id))
      case ("mask", true), ("m", true): entries.append((0x10, permissions, nobody))
      case ("other", true), ("o", true): entries.append((0x20, permissions, nobody))
      default: return nil
      }
    }
    let tags = entries.map(\.tag)
    guard [0x01, 0x04, 0x20].allSatisfy({ tag in tags.count(where: { $0 == tag }) == 1 }),
      tags.count(where: { $0 == 0x10 }) <= 1,
      entries.count <= 8192, !tags.contains(where: { $0 == 0x02 || $0 == 0x08 }) || tags.contains(0x10)
    else { return nil }
    let places = entries.map { UInt64($0.tag) << 32 | UInt64($0.id) }
    guard Set(places).count == places.count else { return nil }
    func bits(_ tag: UInt16) -> UInt32? { entries.first { $0.tag == tag }.map { UInt32($0.permissions) } }
    let mode = (bits(0x01) ?? 0) << 6 | (bits(0x10) ?? bits(0x04) ?? 0) << 3 | (bits(0x20) ?? 0)
    if entries.count == 3 { return ([], mode) }
    var bytes: [UInt8] = [2, 0, 0, 0]
    func append(_ value: UInt32, _ length: Int) {
      for index in 0..<UInt32(length) { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
    }
    for entry in entries.sorted(by: { ($0.tag, $0.id) < ($1.tag, $1.id) }) {
      append(UInt32(entry.tag), 2)
      append(UInt32(entry.permissions), 2)
      append(entry.id, 4)
    }
    return (bytes, mode)
  }

  private static func permissions(_ text: String) -> UInt16? {
    var bits: UInt16 = 0
    for letter in text {
      switch letter {
      case "r": bits |= 4
      case "w": bits |= 2
      case "x": bits |= 1
      case "-": continue
      default: return nil
      }
    }
    return bits
  }

  /// The numbers in passwd(5) and group(5), by name.
  private static func numbers(_ tree: FileTree, _ path: String) throws(CapsuleError) -> [String: UInt32] {
    var numbers: [String: UInt32] = ["root": 0]
    for line in (try tree.text(path) ?? "").split(whereSeparator: \.isNewline) {
      let fields = line.split(separator: ":", omittingEmptySubsequences: false)
      if fields.count >= 3, let number = UInt32(fields[2]) { numbers[String(fields[0])] = number }
    }
    return numbers
  }
}
