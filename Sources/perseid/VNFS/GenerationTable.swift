import Provisioner

/// A capsule's generations, for people.
enum GenerationTable {
  static func text(_ generations: [CapsuleView.GenerationView]) -> String {
    var table = Table(
      ["GENERATION", "", "CREATED", "VERSION", "KERNEL", "SIZE", "NODES", "DIGEST", "ORIGIN"], rightAligned: [0, 5, 6])
    for generation in generations {
      table.add([
        String(generation.generation), generation.isCurrent ? "boots" : " ", generation.created.description,
        generation.version, generation.kernel, Quantity.bytes(generation.bytes), String(generation.running),
        String(generation.digest.prefix(19)), generation.origin,
      ])
    }
    return table.text
  }
}
