package picture

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.framework.image.ByteBufferExtractor
import com.google.mediapipe.framework.image.MPImage
import com.google.mediapipe.tasks.components.containers.Category
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier
import com.google.mediapipe.tasks.vision.imageembedder.ImageEmbedder
import com.google.mediapipe.tasks.vision.imagesegmenter.ImageSegmenter
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector

/** The model of the bundle, opened by the MediaPipe task that its own task is; one thread at a time may ask it. */
class Model private constructor(
    private val about: About,
    private val task: AutoCloseable,
    private val ask: (MPImage) -> Answer,
) : AutoCloseable by task {

    /** Says what is in a picture of any size, ARGB_8888 and upright. */
    fun ask(picture: Bitmap): Answer = ask(BitmapImageBuilder(placed(picture, about.aspect)).build())

    companion object {
        /** Opens the model; throws where MediaPipe does not take it. */
        fun open(context: Context, about: About): Model {
            val base = BaseOptions.builder().setModelAssetPath(about.file).build()
            return when (about.task) {
                "detection" -> detector(context, about, base)
                "segmentation" -> segmenter(context, about, base)
                "embedding" -> embedder(context, about, base)
                else -> classifier(context, about, base)
            }
        }

        private fun classifier(context: Context, about: About, base: BaseOptions): Model {
            val options = ImageClassifier.ImageClassifierOptions.builder()
                .setBaseOptions(base).setMaxResults(-1).build()
            val task = ImageClassifier.createFromOptions(context, options)
            return Model(about, task) { image ->
                val said = task.classify(image).classificationResult().classifications().first().categories()
                val scores = MutableList(about.names.size) { 0.0 }
                said.forEach { scores[indexOf(it, about)] = it.score().toDouble() }
                Scores(scores)
            }
        }

        private fun embedder(context: Context, about: About, base: BaseOptions): Model {
            val options = ImageEmbedder.ImageEmbedderOptions.builder().setBaseOptions(base).build()
            val task = ImageEmbedder.createFromOptions(context, options)
            return Model(about, task) { image ->
                Place(task.embed(image).embeddingResult().embeddings().first().floatEmbedding().map { it.toDouble() })
            }
        }

        private fun segmenter(context: Context, about: About, base: BaseOptions): Model {
            val options = ImageSegmenter.ImageSegmenterOptions.builder()
                .setBaseOptions(base).setOutputCategoryMask(true).setOutputConfidenceMasks(false).build()
            val task = ImageSegmenter.createFromOptions(context, options)
            return Model(about, task) { image ->
                val mask = ByteBufferExtractor.extract(task.segment(image).categoryMask().get())
                Classes(List(mask.limit()) { mask.get(it).toInt() and 0xff })
            }
        }

        private fun detector(context: Context, about: About, base: BaseOptions): Model {
            val options = ObjectDetector.ObjectDetectorOptions.builder().setBaseOptions(base).setMaxResults(-1).build()
            val task = ObjectDetector.createFromOptions(context, options)
            return Model(about, task) { image ->
                val found = task.detect(image).detections().map { each ->
                    val kind = each.categories().first()
                    val box = each.boundingBox()
                    val (high, wide) = image.height.toDouble() to image.width.toDouble()
                    val edges = listOf(box.top / high, box.left / wide, box.bottom / high, box.right / wide)
                    Box(indexOf(kind, about), kind.score().toDouble(), edges)
                }
                Boxes(found.sortedByDescending { it.score })
            }
        }

        /** Labels of a detector come without their number. */
        private fun indexOf(kind: Category, about: About): Int =
            about.names.indexOf(kind.categoryName()).takeIf { it >= 0 } ?: kind.index()
    }
}

/** Gives the part of a picture that the model is asked about; MediaPipe then stretches it to the size that it takes. */
fun placed(picture: Bitmap, aspect: String): Bitmap {
    val (short, long) = minOf(picture.width, picture.height) to maxOf(picture.width, picture.height)
    return when {
        short == long || aspect == "stretch" -> picture
        aspect == "crop" ->
            Bitmap.createBitmap(picture, (picture.width - short) / 2, (picture.height - short) / 2, short, short)
        else -> Bitmap.createBitmap(long, long, Bitmap.Config.ARGB_8888).also {
            it.eraseColor(Color.BLACK)
            val (left, top) = (long - picture.width) / 2f to (long - picture.height) / 2f
            Canvas(it).drawBitmap(picture, left, top, null)
        }
    }
}
