package picture

/** What a model says of a picture, by its task. */
sealed interface Answer

/** classification, multilabel: a number for each class, in the order of the classes. */
class Scores(val values: List<Double>) : Answer

/** embedding: a place of unit length. */
class Place(val values: List<Double>) : Answer

/** segmentation: the class of every pixel, row by row. */
class Classes(val values: List<Int>) : Answer

/** detection: the surest first. */
class Boxes(val values: List<Box>) : Answer

/** A box as top, left, bottom and right in shares of the picture. */
class Box(val category: Int, val score: Double, val edges: List<Double>) {
    /** The area that both share, of what either covers. */
    fun overlap(other: Box): Double {
        val high = minOf(edges[2], other.edges[2]) - maxOf(edges[0], other.edges[0])
        val wide = minOf(edges[3], other.edges[3]) - maxOf(edges[1], other.edges[1])
        val shared = maxOf(high, 0.0) * maxOf(wide, 0.0)
        return shared / maxOf(area() + other.area() - shared, 1e-12)
    }

    private fun area(): Double = (edges[2] - edges[0]) * (edges[3] - edges[1])
}

/** Says an answer in a few words. */
fun Answer.told(about: About): String = when (this) {
    is Scores -> {
        val shown = if (about.task == "multilabel") {
            values.indices.filter { values[it] >= about.thresholds[it] }
        } else {
            listOf(values.indices.maxBy { values[it] })
        }
        shown.joinToString("\n") { "${about.names[it]}  ${percent(values[it])}" }
    }
    is Place -> values.take(4).joinToString("  ") { "%.3f".format(it) } + " …"
    is Classes -> values.groupingBy { it }.eachCount().entries.sortedByDescending { it.value }
        .joinToString("\n") { "${about.names[it.key]}  ${percent(it.value.toDouble() / values.size)}" }
    is Boxes -> values.filter { it.score >= about.thresholds[it.category] }
        .joinToString("\n") { "${about.names[it.category]}  ${percent(it.score)}" }
}

private fun percent(share: Double): String = "%.0f %%".format(100 * share)
