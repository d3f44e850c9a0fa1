package picture

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import org.json.JSONObject
import kotlin.math.abs

/** A picture and the answer that the model must give to it: a row of `golden.json`. */
class Golden(val file: String, private val answer: JSONObject, private val assets: AssetManager) {

    fun picture(): Bitmap = assets.open(file).use(BitmapFactory::decodeStream)

    /** By how much an answer differs from the golden one: in any number, or in the share of pixels. */
    fun difference(said: Answer, about: About): Double = when (said) {
        is Scores -> furthest(said.values, answer.getJSONArray("probabilities").doubles())
        is Place -> furthest(said.values, answer.getJSONArray("embedding").doubles())
        is Classes -> {
            val runs = answer.getJSONArray("classes")
            val wanted = List(runs.length()) { runs.getJSONArray(it) }
                .flatMap { run -> List(run.getInt(1)) { run.getInt(0) } }
            val wrong = said.values.zip(wanted).count { (one, other) -> one != other }
            if (said.values.size != wanted.size) 1.0 else wrong.toDouble() / wanted.size
        }
        is Boxes -> ofBoxes(said.values, about)
    }

    /** Boxes that lie at their threshold to within the tolerance may be there or not. */
    private fun ofBoxes(said: List<Box>, about: About): Double {
        val rows = answer.getJSONArray("boxes")
        val wanted = List(rows.length()) { rows.getJSONObject(it) }
            .map { Box(it.getInt("category"), it.getDouble("score"), it.getJSONArray("box").doubles()) }
        val sure = { box: Box -> box.score >= about.thresholds[box.category] + about.tolerance }
        val pairs = wanted.filter(sure).map { it to said } + said.filter(sure).map { it to wanted }
        return pairs.maxOfOrNull { (box, others) -> nearest(box, others) } ?: 0.0
    }

    private fun nearest(box: Box, others: List<Box>): Double =
        others.filter { it.category == box.category && it.overlap(box) >= SAME_PLACE }
            .minOfOrNull { abs(it.score - box.score) } ?: 1.0

    private fun furthest(said: List<Double>, wanted: List<Double>): Double =
        if (said.size != wanted.size) 1.0 else said.zip(wanted).maxOf { abs(it.first - it.second) }

    companion object {
        /** MediaPipe rounds the edges of boxes to pixels. */
        private const val SAME_PLACE = 0.8

        /** Made square by MediaPipe in its own way, not as in training. */
        private const val NOT_SQUARE = "golden/wide.png"

        /** The golden pictures that are squares, as the model takes them. */
        fun all(assets: AssetManager): List<Golden> {
            val rows = JSONObject(assets.text("golden.json")).getJSONArray("pictures")
            return List(rows.length()) { rows.getJSONObject(it) }
                .map { Golden(it.getString("file"), it.getJSONObject("answer"), assets) }
                .filter { it.file != NOT_SQUARE }
        }
    }
}
