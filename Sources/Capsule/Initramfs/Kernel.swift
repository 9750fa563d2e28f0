import CapsuleFormat

/// A kernel in a tree, and the modules that belong to it.
struct Kernel: Sendable {
  var release: String
  var image: FileTree.Item
  /// The directory with modules.dep, links resolved: `usr/lib/modules/6.1.0-37-amd64`.
  var modules: TreePath
  /// Said to the person where there was a choice.
  var note: String?

  /// Finds the tree's kernel: the one its settings name, else the newest release that has both an image and modules.
  ///
  /// Images are looked for as `boot/vmlinuz-RELEASE` and as `vmlinuz` among the modules of a release.
  static func find(in tree: FileTree, _ settings: CapsuleSettings) throws(CapsuleError) -> Kernel {
    var images: [String: FileTree.Item] = [:]
    var modules: [String: TreePath] = [:]
    // The merged /usr makes one of these a link to the other; both are looked at for trees without that.
    for parent in ["usr/lib/modules", "lib/modules"] {
      guard let directory = tree.directory(parent) else { continue }
      for release in tree.names(in: directory) {
        guard let path = tree.directory("\(parent)/\(release)") else { continue }
        let hasModules = tree.descendants(of: path).contains { Module.suffix(of: $0.entry.path.bytes) != nil }
        if hasModules { modules[release] = path }
        if let image = tree.file("\(parent)/\(release)/vmlinuz") { images[release] = image }
      }
    }
    if let boot = tree.directory("boot") {
      for name in tree.names(in: boot) where name.hasPrefix("vmlinuz-") {
        guard let image = tree.file("boot/\(name)"), !name.contains("rescue") else { continue }
        images[String(name.dropFirst(8))] = image
      }
    }

    guard !images.isEmpty else {
      throw CapsuleError(
        .noKernel,
        "The \(tree.source.words) has no kernel: neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz is there",
        remedy: "Install a kernel package in the tree (on Debian linux-image-amd64), and import it again")
    }
    if let wanted = settings.kernel, images[wanted] == nil {
      throw settings.error(
        "kernel",
        "found '\(wanted)', allowed is one of \(images.keys.sorted { isOlder($0, $1) }.joined(separator: ", "))")
    }
    let usable = images.keys.filter { modules[$0] != nil && $0 == settings.kernel ?? $0 }.sorted { isOlder($0, $1) }
    guard let release = usable.last, let image = images[release], let directory = modules[release] else {
      let found = settings.kernel ?? images.keys.sorted().joined(separator: ", ")
      let others = modules.isEmpty ? "no modules at all" : "only \(modules.keys.sorted().joined(separator: ", "))"
      throw CapsuleError(
        .noModules, "The \(tree.source.words) has the kernel \(found) without its modules; it has \(others)",
        remedy: "Install the modules of that kernel in usr/lib/modules/\(found), and import the tree again")
    }
    var kernel = Kernel(release: release, image: image, modules: directory)
    if images.count > 1, settings.kernel == nil {
      let rest = images.keys.filter { $0 != release }.sorted { isOlder($0, $1) }
      kernel.note = "Several kernels in the tree: taking \(release), leaving \(rest.joined(separator: ", "))"
    }
    return kernel
  }

  /// Compares releases as `sort -V` does: numbers as numbers, the rest as text.
  static func isOlder(_ left: String, _ right: String) -> Bool {
    let leftParts = parts(left)
    let rightParts = parts(right)
    for (first, second) in zip(leftParts, rightParts) where first != second {
      if let firstNumber = UInt64(first), let secondNumber = UInt64(second) {
        if firstNumber != secondNumber { return firstNumber < secondNumber }
      } else {
        return first < second
      }
    }
    return leftParts.count < rightParts.count
  }

  private static func parts(_ release: String) -> [String] {
    var parts: [String] = []
    var lastIsDigit: Bool?
    for character in release {
      let isDigit = character.isASCII && character.isNumber
      if isDigit == lastIsDigit, let last = parts.popLast() {
        parts.append(last + String(character))
      } else {
        parts.append(String(character))
      }
      lastIsDigit = isDigit
    }
    return parts
  }
}
